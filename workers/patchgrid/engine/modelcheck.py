"""What a loaded model supports, and three checks that its numbers are what they are taken for."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import nnsight
import torch
from torch import Tensor

from patchgrid.core.errors import SpecError
from patchgrid.core.methods import AtP
from patchgrid.core.query import Query
from patchgrid.core.sites import SITES
from patchgrid.core.types import Component
from patchgrid.engine.checks.self_check import SelfCheck, some_tokens
from patchgrid.engine.methods import score
from patchgrid.engine.model.families import FAMILIES
from patchgrid.engine.model.layout import Layout
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.model.structure import text_type
from patchgrid.engine.patching.copies import Copy
from patchgrid.engine.patching.nodes import effects
from patchgrid.engine.runs.activations import (
    Activations,
    RunOptions,
    first_output,
    model_inputs,
    parts_for,
    run,
)
from patchgrid.engine.runs.batches import Batch, make_batch
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.question import Question
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.tokenization.tokens import TokenPair

#: Largest error of a score against finite differences, as a share of it, by number type; none for those
#: too coarse to tell small steps apart.
_SLOPE_ALLOWED = {torch.float32: 2e-2, torch.float64: 1e-4}
#: Largest error of a patch of everything, as a share of the metrics' size.
_PATCH_ALLOWED = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
#: A slope below this share of the largest logit is compared as if it were as large: rounding drowns it.
_FLOOR = 1e-2
#: Shares of the way to the source that finite differences step, to both sides.
_STEPS = tuple(2.0**-power for power in range(5, 12))


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its numbers."""

    name: str
    #: The largest error found; None: the check could not be made.
    error: float | None
    #: The largest error that is let through.
    allowed: float | None
    #: What was compared, or why it could not be.
    detail: str

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the model."""
        return self.error is None or self.allowed is None or self.error <= self.allowed


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a model supports, and how its checks went."""

    model_type: str
    #: `record`, or `structure` where the model was run to find its parts.
    found_by: str
    kv_heads: int
    #: Sites that the model does not have, each with the reason.
    missing: dict[str, str]
    #: Ways to compute less, and whether this model takes them.
    shortcuts: dict[str, bool]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return all(check.passed for check in self.checks)


def check_model(model: LoadedModel, parts: SelfCheck) -> ModelReport:
    """Tell what a model supports and check its scores and patches on a few tokens."""
    hugging_face = model.envoy._module  # noqa: SLF001
    config = hugging_face.config
    return ModelReport(
        model_type=config.model_type,
        found_by="record" if text_type(hugging_face) in FAMILIES else "structure",
        kv_heads=kv_heads(config.get_text_config()),
        missing=missing_sites(model.layout),
        shortcuts={field.name: getattr(model.shortcuts, field.name) for field in fields(Shortcuts)},
        checks=(
            Check(
                "parts add up",
                parts.error,
                parts.allowed,
                "input + attention + MLP against the output of each block",
            ),
            *_slopes(model),
            _patch_of_everything(model),
        ),
    )


def kv_heads(config: Any) -> int:
    """Number of key-value heads, which families name in their own ways."""
    heads = int(config.num_attention_heads)
    if getattr(config, "new_decoder_architecture", False):
        return int(config.num_kv_heads)
    if getattr(config, "multi_query", False):
        return 1
    nested = getattr(getattr(config, "attn_config", None), "kv_n_heads", None)
    return int(getattr(config, "num_key_value_heads", None) or nested or heads)


def missing_sites(layout: Layout) -> dict[str, str]:
    """Name the sites that a model lacks, with the reason."""
    reasons = {}
    for site in SITES:
        try:
            layout.check_sites((site,))
        except SpecError as error:
            reasons[site] = str(error).partition(": ")[2].partition(". It has")[0]
    return reasons


@dataclass
class _Trial:
    """Two prompts of a few tokens that differ from the third token on, in one batch of their own."""

    model: LoadedModel

    def __post_init__(self) -> None:
        ids = some_tokens(self.model)
        other = (*ids[:2], *reversed(ids[2:]))
        pair = TokenPair(0, ids, other, (ids[0],), (ids[1],))
        self.batch: Batch = make_batch([pair], ids[0], self.model.device)
        self.plain = replace(self.model, shortcuts=Shortcuts.none())

    def run(self, tokens: Tensor, sites: tuple[str, ...]) -> Activations:
        with torch.no_grad():
            return run(self.plain, self.rows(tokens), RunOptions(parts_for(sites)))

    def rows(self, tokens: Tensor) -> Rows:
        return Rows.of(self.batch, tokens, [0])

    def metric(self, logits: Tensor) -> float:
        """The difference of the answers' logits."""
        pair = self.batch.pairs[0]
        return float(logits[0, pair.correct[0]].double() - logits[0, pair.incorrect[0]].double())


def _slopes(model: LoadedModel) -> Iterator[Check]:
    """Compare the scores of three components with what small steps toward the source change."""
    middle = model.layout.n_layers // 2
    allowed = _SLOPE_ALLOWED.get(model.dtype)
    trial = _Trial(model)
    size = float(_logits(trial, trial.batch.clean).abs().max())
    for site, layer in (("z", middle), ("mlp_out", middle), ("resid_pre", 0)):
        name = f"slope of {site}, layer {layer}"
        if allowed is None:
            why = f"{model.dtype} is too coarse for finite differences: use --dtype float32"
            yield Check(name, None, None, why.removeprefix("torch."))
            continue
        passes = Passes(model, trial.batch, Question(Query((site,))))
        mine = float(score(passes, AtP())[site][0, layer].sum())
        slope = _slope(trial, site, layer)
        error = abs(mine - slope) / max(abs(slope), _FLOOR * size, 1e-9)
        yield Check(name, error, allowed, f"score {mine:.6g}, central differences {slope:.6g}")


def _slope(trial: _Trial, site: str, layer: int) -> float:
    """Central differences, those of the two steps that agree best extrapolated."""
    base, source = (trial.run(tokens, (site,)) for tokens in (trial.batch.corrupted, trial.batch.clean))
    change = source.at(site, layer) - base.at(site, layer)

    def central(step: float) -> float:
        ahead, back = (trial.metric(_moved(trial, site, layer, sign * step * change)) for sign in (1, -1))
        return (ahead - back) / (2 * step)

    slopes = [central(step) for step in _STEPS]
    # Wide steps meet curvature, and experts that are no longer chosen; small ones rounding.
    far, near = min(pairwise(slopes), key=lambda both: abs(both[0] - both[1]))
    return (4 * near - far) / 3


def _moved(trial: _Trial, site: str, layer: int, change: Tensor) -> Tensor:
    """Logits of the corrupted prompt's last position, one activation moved; no shortcut, no other patch."""
    model = trial.plain
    block = model.layout.blocks[layer]
    inputs = model_inputs(trial.model, trial.rows(trial.batch.corrupted), 0, None)
    with torch.no_grad(), model.envoy.trace(**inputs):
        if site == "resid_pre":
            block.layer.input = block.layer.input + change
        elif site == "z":
            block.projection.input = block.projection.input + change
        else:  # what the MLP adds, it adds to the block's output
            output = block.layer.output
            moved = first_output(output) + change
            block.layer.output = (moved, *output[1:]) if isinstance(output, tuple) else moved
        logits: Tensor = nnsight.save(model.envoy.output.logits[:, -1])
    return logits


def _patch_of_everything(model: LoadedModel) -> Check:
    """Patch all that enters the first block: the base run must become the source run."""
    trial = _Trial(model)
    passes = Passes(model, trial.batch, Question(Query(("resid_pre",))), patching=True)
    [effect] = effects(passes, [Copy(0, Component("resid_pre", 0))], 1024, lambda _count: None).tolist()
    base, source = (
        trial.metric(_logits(trial, tokens)) for tokens in (trial.batch.corrupted, trial.batch.clean)
    )
    error = abs(base + effect - source) / max(abs(base), abs(source), 1e-6)
    return Check(
        "patch of everything",
        error,
        _PATCH_ALLOWED.get(model.dtype, 1e-3),
        f"metric {base + effect:.6g}, the source's {source:.6g}",
    )


def _logits(trial: _Trial, tokens: Tensor) -> Tensor:
    """The last position's logits of an untouched run, by the model alone."""
    inputs = model_inputs(trial.model, trial.rows(tokens), 0, None)
    with torch.no_grad():
        logits: Tensor = trial.model.envoy._module(**inputs).logits[:, -1]  # noqa: SLF001
    return logits
