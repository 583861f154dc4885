"""How many components and cells a job would have, and what it would cost, from a model's configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchgrid.core.graph import Graph
from patchgrid.core.refinement import FIRST, Refinement
from patchgrid.core.sites import EDGE, SITES
from patchgrid.core.types import JobSpec
from patchgrid.engine.model.families import FAMILIES
from patchgrid.storage.sampling.shares import exact_share

_NAMES = {"top": "--exact-top {}", "certify": "--certify top={}"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes, as its configuration has them."""

    layers: int
    n_heads: int
    #: Key-value heads.
    n_kv_heads: int
    #: Neurons of a layer; None: not told.
    d_mlp: int | None
    #: Attention and MLP read the same.
    parallel: bool

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """Read a Hugging Face configuration of a language model."""
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            n_heads=heads,
            n_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            d_mlp=_d_mlp(config),
            parallel=_is_parallel(config),
        )

    def components(self, site: str) -> int | None:
        """Count a site's components at one position, or at all positions at once; None: not known."""
        if site == EDGE:
            return Graph(self.layers, self.n_heads, self.n_kv_heads, self.parallel).count
        size = SITES[site].count
        count = 1 if size is None else getattr(self, size)
        return None if count is None else self.layers * count


@dataclass(frozen=True, slots=True)
class SiteCount:
    """What a job would measure at a site."""

    site: str
    #: Components, at one position where positions are kept.
    components: int
    #: Cells: a component of a pair each.
    cells: int
    #: Share of them to patch exactly, and the number of patched runs.
    share: float
    exact: int


def count_sites(spec: JobSpec, shape: Shape, pairs: int, positions: int) -> list[SiteCount]:
    """Count what a job of `pairs` pairs would measure; `positions` is their total over all pairs."""
    counts = []
    for site in spec.query.sites:
        components = shape.components(site)
        if components is not None:
            cells = components * (positions if spec.positions == "keep" else pairs)
            share = exact_share(spec, site, pairs=pairs)
            counts.append(SiteCount(site, components, cells, share, round(share * cells)))
    return counts


@dataclass(frozen=True, slots=True)
class AddedCells:
    """Cells that a refinement patches beyond the sample: in its first round, and in all."""

    request: Mapping[str, Any]
    least: int
    most: int


def added_cells(asked: Refinement, counts: Sequence[SiteCount], pairs: int) -> AddedCells:
    """Count what a refinement adds to a new job of `pairs` pairs."""
    cells, sampled = sum(each.cells for each in counts), sum(each.exact for each in counts)
    components = sum(each.components for each in counts)
    if asked.top:
        most = round(cells * min(1.0, asked.top / components))
        return AddedCells(asked.as_dict(), 0, most)
    share = min(1.0, FIRST / max(pairs, 1)) * (1 - sampled / cells)
    most = max(0, round(asked.max_exact * cells) - sampled)
    return AddedCells(asked.as_dict(), min(most, round(share * cells)), most)


def added_words(asked: Refinement, added: AddedCells) -> str:
    """Say what a refinement adds."""
    if asked.top:
        return f"{_NAMES['top'].format(asked.top)}: at most {added.most:,} cells more, in one round"
    return (
        f"{_NAMES['certify'].format(asked.certify)}: about {added.least:,} cells more in the first round, at "
        f"most {added.most:,} in all (--max-exact {asked.max_exact:g})"
    )


def count_passes(spec: JobSpec, layers: int | None) -> Mapping[str, int]:
    """Estimate the passes that a pair's scores take by each method, including the two unpatched runs."""
    return {method.name: 2 + method.passes(layers or 0) for method in spec.query.methods}


def _d_mlp(config: Any) -> int | None:
    for name in ("n_inner", "intermediate_size", "ffn_dim"):
        if isinstance(getattr(config, name, None), int):
            return int(getattr(config, name))
    # GPT-2's own default.
    return 4 * config.hidden_size if config.model_type == "gpt2" else None


def _is_parallel(config: Any) -> bool:
    family = FAMILIES.get(config.model_type)
    if family is None:
        return False
    return bool(getattr(config, family.parallel)) if isinstance(family.parallel, str) else family.parallel
