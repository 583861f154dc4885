"""The check that a model's attention is the softmax that the QK fix computes recomputed."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from patchgrid.engine.checks.self_check import some_tokens
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.model.taps import AttentionCall, recorded_calls
from patchgrid.engine.runs.activations import RunOptions, parts_for, run
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.sites import attention
from patchgrid.engine.tokenization.tokens import TokenPair

#: Largest error allowed, as a share of z's largest value: this, or this many roundings of the number type.
_ALLOWED, _ROUNDINGS = 1e-5, 8
#: Arguments of attention functions that the recomputed softmax handles or may ignore.
_UNDERSTOOD = {
    *("scaling", "softcap", "s_aux", "position_bias", "is_causal", "sliding_window", "dropout"),
    *("position_ids", "cache_position", "past_key_values", "cache", "use_cache", "output_attentions"),
}


def what_is_missing(model: LoadedModel) -> str | None:
    """Explain why a model's attention patterns cannot be recomputed; None if they can, or without taps.

    Each layer's z is compared with its softmax times its values, of a row alone, which may be given no mask,
    and of two rows, one of them padded.
    """
    if "q" in model.layout.absent:
        return None
    ids = some_tokens(model)
    pairs = [TokenPair(row, ids[row:], tuple(reversed(ids[row:])), (ids[0],), (ids[1],)) for row in (0, 1)]
    return _differing(model, pairs[:1]) or _differing(model, pairs)


@torch.no_grad()
def _differing(model: LoadedModel, pairs: Sequence[TokenPair]) -> str | None:
    """Run the pairs' clean prompts; name the first layer whose z is another, or None."""
    batch = make_batch(pairs, pairs[0].clean[0], model.device)
    rows = Rows.of(batch, batch.clean, range(len(pairs)))
    with recorded_calls(attention.modules(model.layout)) as calls:
        activations = run(
            replace(model, shortcuts=Shortcuts.none()), rows, RunOptions(parts_for(("q", "k", "v", "z")))
        )
    allowed = max(_ALLOWED, _ROUNDINGS * torch.finfo(model.dtype).eps)
    for layer, call in calls.items():
        z = activations.z[layer].float()
        recomputed = attention.attended(
            call, activations.q[layer], activations.k[layer], activations.v[layer]
        )
        if not _close(recomputed, z, batch.attention_mask.bool(), allowed):
            unknown = _unknown_options(call)
            return f"layer {layer} does not compute attention as the softmax of scaled logits{unknown}"
    return None


def _close(recomputed: Tensor, z: Tensor, real: Tensor, allowed: float) -> bool:
    if recomputed.shape != z.shape:
        return False
    return bool((recomputed - z)[real].abs().max() <= allowed * z[real].abs().max())


def _unknown_options(call: AttentionCall) -> str:
    unknown = sorted(
        name for name, value in call.options.items() if value is not None and name not in _UNDERSTOOD
    )
    return f": its attention function takes {', '.join(unknown)}" if unknown else ""
