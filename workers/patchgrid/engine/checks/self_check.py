"""The check that every model passes on load: its parts add up to the residual stream."""

import math
from dataclasses import dataclass, replace

import torch

from patchgrid.core.errors import ModelError
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.runs.activations import Activations, RunOptions, run
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.tokenization.tokens import TokenPair

#: Largest error allowed, as a share of the stream's largest value: rounding of the number type times this.
_ROUNDINGS = 64
#: Largest difference between two runs of the same tokens, as a share of the stream's largest value; and where
#: activations are rounded to a few bits, each time on another scale.
_AGAIN, _COARSE = 1e-3, 0.2


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What the self-check measured."""

    #: Largest difference between a block's output and the sum of its parts, over the stream's largest value.
    error: float
    #: The largest that is let through in the model's number type.
    allowed: float


def check_parts(model: LoadedModel) -> SelfCheck:
    """Check that input + attention + MLP gives each block's output, and z the width of the heads.

    And that tokens give the same alone as beside others: with dropout at work, prompts that are the same
    would have effects, and where padding is not omitted, effects that are not theirs.

    Raises
    ------
    ModelError
        Naming the first block where they do not.
    """
    ids = some_tokens(model)
    pairs = [TokenPair(row, ids[row:], tuple(reversed(ids[row:])), (ids[0],), (ids[1],)) for row in (0, 1)]
    batch = make_batch(pairs, ids[0], model.device)
    with torch.no_grad():
        rows = Rows.of(batch, batch.clean, range(len(pairs)))
        plain, options = (
            replace(model, shortcuts=Shortcuts.none()),
            RunOptions(frozenset({"z", "attn_out", "mlp_out"})),
        )
        activations = run(plain, rows, options)
        single = make_batch(pairs[1:], ids[0], model.device)
        alone = run(plain, Rows.of(single, single.clean, [0]), options)
    allowed = _ROUNDINGS * torch.finfo(model.dtype).eps
    real = batch.attention_mask.bool()
    apart = _apart(activations.stream[-1][1, 1:], alone.stream[-1][0])
    if apart > (_COARSE if _is_quantised(model) else max(_AGAIN, allowed)):
        raise ModelError(
            f"{model.name}: running the same tokens again without padding gives different numbers (off by "
            f"{apart:.2g} of their size): dropout or noise is active in eval() mode, or padding is not masked"
        )
    worst = 0.0
    for layer in range(model.layout.n_layers):
        _check_width(model, activations, layer)
        error = _block_error(activations, layer, real)
        if math.isnan(error):
            raise ModelError(f"{model.name}: block {layer} outputs NaN or inf; check the checkpoint")
        if error > allowed:
            raise ModelError(
                f"{model.name}: block {layer}'s input, attention and MLP do not add up to its output "
                f"(off by {error:.2g} of its size): this architecture is not supported"
            )
        worst = max(worst, error)
    return SelfCheck(worst, allowed)


def some_tokens(model: LoadedModel) -> tuple[int, ...]:
    """A few different token ids within the vocabulary and the context."""
    length = min(6, model.layout.context or 6)
    step = max(1, model.vocabulary // (length + 1))
    return tuple(step * (place + 1) % model.vocabulary for place in range(length))


def _is_quantised(model: LoadedModel) -> bool:
    return getattr(model.envoy._module, "quantization_method", None) is not None  # noqa: SLF001


def _check_width(model: LoadedModel, activations: Activations, layer: int) -> None:
    width, expected = activations.z[layer].shape[-1], model.layout.n_heads * model.layout.head_dim
    if width != expected:
        raise ModelError(
            f"{model.name}: block {layer}'s z has width {width}, expected heads * head_dim = {expected}"
        )


def _block_error(activations: Activations, layer: int, real: torch.Tensor) -> float:
    output = activations.stream[layer + 1][real].float()
    total = (activations.at("resid_mid", layer) + activations.mlp_out[layer])[real].float()
    return _apart(total, output)


def _apart(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    scale = expected.float().abs().max().clamp(min=1e-30)
    return float((actual.float() - expected.float()).abs().max() / scale)
