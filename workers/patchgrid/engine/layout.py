"""A loaded model seen as blocks: the nnsight handles of its parts, its sizes, the sites it has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from patchgrid.engine import names
from patchgrid.engine.errors import ComponentError, ModelError, SpecError
from patchgrid.engine.families import Family, find_family
from patchgrid.engine.types import Component


@dataclass(frozen=True, slots=True)
class Block:
    """nnsight handles of one block's parts."""

    #: The whole block: its input is `resid_pre`, its output `resid_post`.
    layer: Any
    #: The attention module.
    attention: Any
    #: The output projection: its input is `z`.
    projection: Any
    #: Its output, or the first of its outputs, is `attn_out`.
    attn_out: Any
    #: All that the MLP reads is its input; None where no module has it as `[pair, position, width]`.
    mlp: Any
    #: Its output is `mlp_out`.
    mlp_out: Any
    #: From `z` to `attn_out`, by the block's own modules.
    project: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the engine needs to know of a model's architecture."""

    blocks: tuple[Block, ...]
    #: nnsight handle of the projection to the vocabulary; None where the model names none.
    head: Any
    n_heads: int
    head_dim: int
    d_model: int
    #: Attention and MLP read the same input.
    parallel: bool
    #: Sites that this model does not have: what is missing.
    absent: Mapping[str, str]
    #: Longest prompt in tokens, or None where the model sets no bound.
    context: int | None
    #: Prompts longer than this are embedded otherwise (LongRoPE), for a whole batch at once; None: all alike.
    short_context: int | None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites this model has."""
        return tuple(site for site in names.SITES if site not in self.absent)

    def check_sites(self, sites: tuple[str, ...]) -> None:
        """Raise `SpecError` for a site that is unknown or that this model does not have."""
        for site in sites:
            names.check_name("site", site, names.SITES)
            if site in self.absent:
                raise SpecError(
                    f"this model has no site {site!r}: {self.absent[site]}. It has: {', '.join(self.sites)}"
                )

    def check_component(self, component: Component) -> None:
        """Raise `ComponentError` for a layer or head beyond this model's."""
        self.check_sites((component.site,))
        if not 0 <= component.layer < self.n_layers:
            raise ComponentError(
                f"{component.name}: layer {component.layer} is not there, "
                f"the model has layers 0 to {self.n_layers - 1}"
            )
        if component.head is not None and not 0 <= component.head < self.n_heads:
            raise ComponentError(
                f"{component.name}: head {component.head} is not there, "
                f"the model has heads 0 to {self.n_heads - 1}"
            )


def read_layout(envoy: Any, model: Any) -> Layout:
    """Find a model's blocks and sizes.

    Parameters
    ----------
    envoy
        The model wrapped by nnsight.
    model
        The same Hugging Face model.
    """
    family = find_family(model)
    config = model.config.get_text_config()
    layers = zip(_follow(envoy, family.layers), model.get_submodule(family.layers), strict=True)
    blocks = tuple(_block(layer, module, family) for layer, module in layers)
    n_heads = config.num_attention_heads
    parallel = _is_parallel(family, config)
    return Layout(
        blocks=blocks,
        head=_head(envoy, model),
        n_heads=n_heads,
        head_dim=_projection_width(model, family) // n_heads,
        d_model=config.hidden_size,
        parallel=parallel,
        absent=_absent(parallel=parallel),
        context=getattr(config, "max_position_embeddings", None),
        short_context=_short_context(config),
    )


def _block(layer: Any, module: Any, family: Family) -> Block:
    return Block(
        layer=layer,
        attention=_follow(layer, family.attention),
        projection=_follow(layer, family.projection),
        attn_out=_follow(layer, family.attn_out),
        mlp=None if family.mlp is None else _follow(layer, family.mlp),
        mlp_out=_follow(layer, family.mlp_out),
        project=_project(module, family),
    )


def _project(module: Any, family: Family) -> Callable[[Tensor], Tensor]:
    """Compose what a block does with `z` until it is added to the stream."""
    projection = module.get_submodule(family.projection)
    if family.attn_out == family.attention:
        return lambda z: projection(z)
    norm = module.get_submodule(family.attn_out)
    return lambda z: norm(projection(z))


def _head(envoy: Any, model: Any) -> Any:
    head = model.get_output_embeddings()
    paths = [path for path, module in model.named_modules() if module is head]
    return _follow(envoy, paths[0]) if head is not None and paths else None


def _absent(*, parallel: bool) -> dict[str, str]:
    """Say what is missing for the sites that a model does not have."""
    absent = {}
    if parallel:
        absent["resid_mid"] = "its attention and MLP read the same input, so nothing lies between them"
    for site in ("q", "k", "v", "mlp_post", names.EDGE):
        absent[site] = "its code does not show it"
    return absent


def _is_parallel(family: Family, config: Any) -> bool:
    if isinstance(family.parallel, str):
        return bool(getattr(config, family.parallel))
    return family.parallel


def _short_context(config: Any) -> int | None:
    """The length up to which a LongRoPE model uses its short factors."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    bound = rope.get("original_max_position_embeddings", config.max_position_embeddings)
    return int(bound)


def _projection_width(model: Any, family: Family) -> int:
    projection = model.get_submodule(family.layers)[0].get_submodule(family.projection)
    width = getattr(projection, "in_features", None)
    if width is None and hasattr(projection, "nf"):  # GPT-2's Conv1D keeps its weight as [in, out]
        width = projection.weight.shape[0]
    if width is None:
        raise ModelError(
            f"the width of {family.projection}'s input is not known: cannot tell the heads apart"
        )
    return int(width)


def _follow(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root
