"""Exact activation patching: many patched copies in one forward pass, started at the patched layer.

A copy whose patch lies at layer L runs only the blocks from L on: the blocks before are skipped and the
base run's residual stream at L stands in for their output.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nnsight
import torch
from einops import rearrange
from torch import Tensor

from patchgrid.engine.activations import Activations, first_output, head_view, parts_for, run
from patchgrid.engine.batches import Batch
from patchgrid.engine.errors import ComponentError
from patchgrid.engine.layout import Block
from patchgrid.engine.loading import LoadedModel
from patchgrid.engine.memory import in_halves
from patchgrid.engine.methods.base import Question
from patchgrid.engine.types import Component


@dataclass(frozen=True, slots=True)
class Copy:
    """One patched copy of one pair of a batch."""

    #: Place of the pair in the batch.
    row: int
    component: Component

    @property
    def start(self) -> int:
        """The first block that has to run."""
        after = self.component.site in {"resid_post", "mlp_out"}
        return self.component.layer + after


@dataclass(frozen=True, slots=True)
class _Runs:
    """Both unpatched runs of a batch."""

    base: Activations
    source: Activations
    #: float32 `[pair]`.
    base_metric: Tensor
    clean_logits: Tensor


def effects(
    model: LoadedModel,
    batch: Batch,
    copies: Sequence[Copy],
    question: Question,
    batch_tokens: int,
    on_forward: Callable[[int], None],
) -> Tensor:
    """Measure each copy's effect: metric(patched run) - metric(base run).

    A patch that lies before the first position at which its pair differs changes nothing: its effect is 0
    and costs nothing. `on_forward` is called after each forward pass with its number of copies.

    Returns
    -------
    float32 `[copy]`, on the CPU, in metric units.
    """
    with torch.no_grad():
        runs = _unpatched(model, batch, question)
        where = _positions(batch, copies)
        result = torch.zeros(len(copies))
        by_start = defaultdict(list)
        differs = batch.differs.cpu()
        for place, copy in enumerate(copies):
            if bool((where[place] & differs[copy.row]).any()):
                by_start[copy.start].append(place)
        size = max(1, batch_tokens // batch.width)
        for start in sorted(by_start):
            places = by_start[start]
            for first in range(0, len(places), size):
                chosen = places[first : first + size]

                def patched(group: Sequence[int], start: int = start) -> Tensor:
                    some = [copies[place] for place in group]
                    return _patched(model, batch, some, where[list(group)], start, runs, question)

                result[chosen] = torch.cat(in_halves(patched, chosen))
                on_forward(len(chosen))
    return result


def _unpatched(model: LoadedModel, batch: Batch, question: Question) -> _Runs:
    base_tokens, source_tokens = question.sides(batch)
    parts = parts_for(question.sites)
    # A patched mlp_out is added to the base run's own resid_mid.
    base_parts = parts | (parts_for(["resid_mid"]) if "mlp_out" in question.sites else frozenset())
    source = run(model, batch, source_tokens, parts, grad=False)
    base = run(model, batch, base_tokens, base_parts, grad=False)
    clean_logits = question.clean_of(base.logits, source.logits)
    return _Runs(base, source, question.measure(base.logits, batch.answers, clean_logits), clean_logits)


def _patched(
    model: LoadedModel,
    batch: Batch,
    copies: Sequence[Copy],
    where: Tensor,
    start: int,
    runs: _Runs,
    question: Question,
) -> Tensor:
    """Run copies that start at the same block; float32 `[copy]` effects."""
    rows = torch.tensor([copy.row for copy in copies], device=model.device)
    where = where.to(model.device)
    stream = _start_stream(copies, start, rows, where, runs)
    logits = _run_from(model, batch, copies, start, rows, where, stream, runs)
    metric = question.measure(logits, batch.answers.rows(rows), runs.clean_logits[rows])
    return (metric - runs.base_metric[rows]).cpu()


def _positions(batch: Batch, copies: Sequence[Copy]) -> Tensor:
    """bool `[copy, position]`, true where the copy is patched."""
    where = torch.zeros(len(copies), batch.width, dtype=torch.bool)
    for place, copy in enumerate(copies):
        padding = batch.padding(copy.row)
        position = copy.component.position
        if position is None:
            where[place, padding:] = True
            continue
        wanted = (position,) if isinstance(position, int) else position
        where[place, [_padded(one, padding, batch.width, copy.component) for one in wanted]] = True
    return where


def _padded(position: int, padding: int, width: int, component: Component) -> int:
    length = width - padding
    if not -length <= position < length:
        raise ComponentError(f"{component.name}: the pair has {length} tokens, positions 0 to {length - 1}")
    return padding + position if position >= 0 else width + position


def _start_stream(copies: Sequence[Copy], start: int, rows: Tensor, where: Tensor, runs: _Runs) -> Tensor:
    """The stream `[copy, position, d_model]` that enters block `start`, earlier patches applied."""
    stream = runs.base.stream[start][rows]
    for site in ("resid_pre", "resid_post", "mlp_out"):
        chosen = _of_site(copies, site)
        if not chosen.numel():
            continue
        pairs = rows[chosen]
        if site == "mlp_out":
            new = runs.base.at("resid_mid", start - 1)[pairs] + runs.source.mlp_out[start - 1][pairs]
        else:
            new = runs.source.stream[start][pairs]
        stream[chosen] = torch.where(where[chosen, :, None], new, stream[chosen])
    return stream


def _run_from(
    model: LoadedModel,
    batch: Batch,
    copies: Sequence[Copy],
    start: int,
    rows: Tensor,
    where: Tensor,
    stream: Tensor,
    runs: _Runs,
) -> Tensor:
    """Run the blocks from `start` on; float32 `[copy, vocabulary]` logits of the last position."""
    blocks = model.layout.blocks
    inputs = {
        "input_ids": batch.clean[rows],  # replaced by the stream before the first block reads it
        "attention_mask": batch.attention_mask[rows],
        "position_ids": batch.position_ids[rows],
        "use_cache": False,
        "logits_to_keep": 1,
    }
    with torch.no_grad(), model.envoy.trace(**inputs):
        for block in blocks[:start]:
            block.layer.skip(stream)
        if start == 0:
            blocks[0].layer.input = stream
        if start < len(blocks):
            _patch_within(model, blocks[start], copies, start, rows, where, runs)
        logits = nnsight.save(model.envoy.output.logits)
    last: Tensor = logits[:, -1].float()
    return last


def _patch_within(
    model: LoadedModel,
    block: Block,
    copies: Sequence[Copy],
    layer: int,
    rows: Tensor,
    where: Tensor,
    runs: _Runs,
) -> None:
    """Replace z, attn_out and resid_mid inside the first block that runs."""
    heads = _of_site(copies, "z")
    if heads.numel():
        mask = _head_mask(copies, heads, where[heads], model.layout.n_heads)
        z = block.projection.input.clone()
        own, new = (head_view(t, model.layout) for t in (z[heads], runs.source.z[layer][rows[heads]]))
        patched = torch.where(mask[..., None], new, own)
        z[heads] = rearrange(patched, "copy position head dim -> copy position (head dim)")
        block.projection.input = z
    mids, outs = _of_site(copies, "resid_mid"), _of_site(copies, "attn_out")
    if mids.numel() or outs.numel():
        output = block.attn_out.output
        added = first_output(output).clone()
        # What takes resid_pre to the source's resid_mid when the block adds it.
        shift = runs.source.at("resid_mid", layer)[rows[mids]] - runs.base.stream[layer][rows[mids]]
        added[mids] = torch.where(where[mids, :, None], shift, added[mids])
        own = added[outs]
        added[outs] = torch.where(where[outs, :, None], runs.source.attn_out[layer][rows[outs]], own)
        block.attn_out.output = (added, *output[1:]) if isinstance(output, tuple) else added


def _of_site(copies: Sequence[Copy], site: str) -> Tensor:
    """Places of the copies patched at a site, int64."""
    return torch.tensor(
        [i for i, copy in enumerate(copies) if copy.component.site == site], dtype=torch.int64
    )


def _head_mask(copies: Sequence[Copy], chosen: Tensor, where: Tensor, n_heads: int) -> Tensor:
    """bool `[copy, position, head]`, true where the copy's head (or every head) is patched."""
    mask = torch.zeros(len(chosen), n_heads, dtype=torch.bool, device=where.device)
    for place, copy in enumerate(chosen.tolist()):
        head = copies[copy].component.head
        mask[place, slice(None) if head is None else head] = True
    return where[:, :, None] & mask[:, None, :]
