"""Exact activation patching: many patched copies in one forward pass, no more of it than a patch changes.

A copy whose patch lies at layer L runs only the blocks from L on, from its first patched position on: the
base run's residual stream stands in for the output of the blocks before, its keys and values for the
positions before.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import nnsight
import torch
from einops import rearrange
from torch import Tensor

from patchgrid.core.sites import SITES, Point
from patchgrid.engine.model.layout import Block
from patchgrid.engine.model.taps import TAPS
from patchgrid.engine.patching.copies import Copy, Group, groups, patched_positions
from patchgrid.engine.runs.activations import (
    Activations,
    added_by_mlp,
    first_output,
    model_inputs,
    read_last,
    work_for_last_only,
)
from patchgrid.engine.runs.memory import in_halves
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.replacement import Replacement, Rounding
from patchgrid.engine.sites import Run, access
from patchgrid.engine.sites.base import by_position, head_view


def effects(
    passes: Passes, copies: Sequence[Copy], batch_tokens: int, on_forward: Callable[[int], None]
) -> Tensor:
    """Measure each copy's effect: metric(patched run) - metric(base run).

    A patch that nothing can come of (before its pair's first difference; in the last block, not at the last
    position) has effect 0 and costs nothing; of a copy that is there for its rounding, NaN. `on_forward` is
    called after each forward pass with its number of copies.

    Returns
    -------
    float32 `[copy]`, on the CPU, in metric units.
    """
    return effects_at(passes, copies, patched_positions(passes.batch, copies), batch_tokens, on_forward)


def effects_at(
    passes: Passes,
    copies: Sequence[Copy],
    where: Tensor,
    batch_tokens: int,
    on_forward: Callable[[int], None],
    replacement_of: Callable[[Group, Sequence[int]], Replacement] | None = None,
) -> Tensor:
    """Measure effects as `effects` does, of copies patched at given positions.

    Parameters
    ----------
    where
        bool `[copy, position]`.
    replacement_of
        Makes what is put in, from a group and its copies' places; None: what the passes put in.
    """
    with torch.no_grad():
        base_metric = passes.base_rows.of_pairs(passes.base_metric)

        def measured(group: Group, places: Sequence[int]) -> Tensor:
            some = [copies[place] for place in places]
            pairs = torch.tensor([copy.pair for copy in some], device=passes.model.device)
            new = None if replacement_of is None else replacement_of(group, places)
            last = PatchedRun(passes, group, some, where[list(places)], new).last()
            return passes.measure(last, pairs) - base_metric[pairs]

        n_layers, short = passes.model.layout.n_layers, passes.model.shortcuts.prefix
        places: list[int] = []
        effects_of_groups = [torch.zeros(0, device=passes.model.device)]
        for group in groups(passes.batch, copies, where, n_layers, batch_tokens, cut_short=short):
            effects_of_groups += in_halves(partial(measured, group), group.places)
            places += group.places
            on_forward(len(group.places))
        result = torch.tensor([torch.nan if copy.rounding else 0.0 for copy in copies])
        # Only here the host waits for the device.
        result[places] = torch.cat(effects_of_groups).float().cpu()
    return result


class PatchedRun:
    """One forward pass of patched copies that start together."""

    def __init__(
        self,
        passes: Passes,
        group: Group,
        copies: Sequence[Copy],
        where: Tensor,
        replacement: Replacement | None = None,
    ) -> None:
        self._passes, self._group, self._copies = passes, group, copies
        self._replacement = replacement or passes.replacement
        self._model = passes.model
        device = self._model.device
        #: bool `[copy, position]` from the group's first position on, on the host.
        self._where = where[:, group.begin :]
        pairs = [copy.pair for copy in copies]
        self._base_rows = torch.tensor([passes.base_rows.row_of[pair] for pair in pairs], device=device)
        self._pairs = torch.tensor(pairs, device=device)
        rounding = [place for place, copy in enumerate(copies) if copy.rounding]
        if rounding:
            chosen = torch.tensor(rounding, device=device)
            self._replacement = Rounding(self._replacement, passes.base, chosen, self._base_rows[chosen])

    def last(self) -> Tensor:
        """Run the copies; give what `Activations.last` is, `[copy, ...]`."""
        blocks, start = self._model.layout.blocks, self._group.start
        stream, skipped = self._stream(), self._skipped()
        kept = Activations(torch.empty(0))
        with self._model.envoy.trace(**self._inputs()):
            self._enter(stream)
            for block in blocks[start : start + 1]:
                self._run_first(block, skipped)
            if start + 1 < len(blocks) and self._narrow:
                work_for_last_only(blocks[-1])
                blocks[-1].mlp.input = blocks[-1].mlp.input[:, -1:]
            kept.last = read_last(self._model)
        return kept.last

    def first_block(self, site: str) -> Tensor:
        """Run the copies' first block alone, and no further than to a site of it.

        Returns
        -------
        `[copy, position, width]`, of `q`, `k`, `v`, `attn_out` or `mlp_out`; the last position alone where
        that is all that the last block works for.
        """
        block = self._model.layout.blocks[self._group.start]
        last_only = self._narrow and self._group.start == self._model.layout.n_layers - 1
        stream, skipped = self._stream(), self._skipped()
        with self._model.envoy.trace(**self._inputs()) as tracer:
            self._enter(stream)
            if site in TAPS:
                activation = nnsight.save(by_position(getattr(block, site).output)[:, -self._width :])
            elif site == "attn_out":
                if last_only:
                    work_for_last_only(block)
                activation = nnsight.save(_times(first_output(block.attn_out.output), block.scale))
            else:
                self._run_first(block, skipped)
                activation = nnsight.save(
                    added_by_mlp(block, stream.shape if not last_only else stream[:, :1].shape)
                )
            tracer.stop()
        values: Tensor = activation
        return values

    def _skipped(self) -> Tensor | None:
        """What the first block's attention adds, where that need not be run."""
        return self._attn_out() if self._group.within and self._model.shortcuts.attention else None

    def _enter(self, stream: Tensor) -> None:
        """Inside the trace, have the first block that runs read a stream, and none before it run."""
        blocks, start = self._model.layout.blocks, self._group.start
        for block in blocks[:start]:
            block.layer.skip(block.gives(stream))
        if start == 0:
            blocks[0].layer.input = stream

    @property
    def _narrow(self) -> bool:
        return self._model.shortcuts.last_block

    @property
    def _width(self) -> int:
        """Number of positions that the copies run."""
        return self._passes.batch.width - self._group.begin

    def _inputs(self) -> dict[str, Any]:
        rows, begin = self._passes.base_rows, self._group.begin
        index, kv_cache = self._base_rows, self._passes.base.kv_cache
        own = replace(
            rows,
            tokens=rows.tokens[index],  # not read: the stream takes the place of the first block's input
            attention_mask=rows.attention_mask[index],
            position_ids=rows.position_ids[index],
        )
        cache = kv_cache.cache(begin, index) if kv_cache is not None and begin else None
        return model_inputs(self._model, own, begin, cache)

    def of_base(self, values: Tensor) -> Tensor:
        """From the base run, `[base row, position, width]`, to `[copy, position, width]`."""
        return values[:, -self._width :][self._base_rows.to(values.device)]

    def layer_of(self, site: str) -> int:
        """The layer of the copies that are patched at a site: see `Copies`."""
        return self._group.start - (SITES[site].point == Point.OUTPUT)

    @property
    def base_run(self) -> Run:
        """The base run."""
        return self._passes.base

    @property
    def rows(self) -> Tensor:
        """int64 `[copy]`, their rows of the base run."""
        return self._base_rows

    def new(self, site: str, positions: int) -> Tensor:
        """What is put in, `[copy, position, width]`: see `Copies`."""
        return self._replacement.at(site, self.layer_of(site), pairs=self._pairs, positions=positions)

    def write(self, site: str, into: Tensor, new: Tensor) -> Tensor:
        """Write what is new where the copies of a site are patched: see `Copies`."""
        places = [place for place, copy in enumerate(self._copies) if copy.component.site == site]
        count = self._model.layout.count(site) or 1
        indices = _one_hot([self._copies[place].component.index for place in places], count)
        mask = (indices[:, None, :] & self._where[places, -into.shape[1] :, None]).to(into.device)
        chosen = torch.tensor(places, device=into.device)
        own, other = head_view(into[chosen], count), head_view(new.to(into.device)[chosen], count)
        patched = torch.where(mask[..., None], other[:, -into.shape[1] :], own)
        into[chosen] = rearrange(patched, "copy position index dim -> copy position (index dim)")
        return into

    def _stream(self) -> Tensor:
        """The stream `[copy, position, d_model]` that enters the first block, patched where it is."""
        stream = self.of_base(self._passes.base.stream[self._group.start])
        if self._group.within:
            return stream
        stream = self._patched(Point.OUTPUT, self._patched(Point.INPUT, stream))
        # What comes out of the last block may be there for the last position only.
        return stream.expand(-1, self._width, -1)

    def _attn_out(self) -> Tensor:
        """What the first block's attention adds, `[copy, position, d_model]`, without running it."""
        layer, base = self._group.start, self._passes.base
        if self._sites(Point.HEADS):
            block = self._model.layout.blocks[layer]
            z = self._patched(Point.HEADS, self.of_base(base.z[layer]))
            return self._patched(Point.ATTENTION, _times(block.project(z), block.scale))
        return self._patched(Point.ATTENTION, self.of_base(base.attn_out[layer]))

    def _run_first(self, block: Block, skipped: Tensor | None) -> None:
        """Inside the trace, patch what lies in the first block that runs, in the order it comes to it."""
        last_only = self._narrow and self._group.start == self._model.layout.n_layers - 1
        if self._group.within:
            self._patch_within(block, skipped)
        else:
            self._patch_taps(block)
            if last_only:
                work_for_last_only(block)
        if last_only:
            block.mlp.input = block.mlp.input[:, -1:]
        if self._sites(Point.MLP):
            # OPT's MLP sees the batch flattened.
            entering = block.neurons.input
            own = entering.clone().view(len(self._copies), -1, entering.shape[-1])
            block.neurons.input = self._patched(Point.MLP, own).view(entering.shape)

    def _patch_taps(self, block: Block) -> None:
        """Inside the trace, write the source's queries, keys and values."""
        for site in self._sites(Point.QKV):
            tap = getattr(block, site)
            # Keys and values of the positions before the copies' own come first.
            values = by_position(tap.output).clone()
            access(site).patch(self, values[:, -self._width :])
            tap.output = rearrange(
                values,
                "copy position (head dim) -> copy head position dim",
                head=self._model.layout.count(site),
            )

    def _patch_within(self, block: Block, skipped: Tensor | None) -> None:
        """Inside the trace, replace z, attn_out and resid_mid of the first block that runs."""
        if skipped is not None:
            output_to_give = _times(skipped, 1 / block.scale)
            block.attention.skip((output_to_give, None))
            if block.attn_out is not block.attention:
                block.attn_out.skip(output_to_give)
            return
        last_only = self._narrow and self._group.start == self._model.layout.n_layers - 1
        z = work_for_last_only(block) if last_only else block.projection.input
        block.projection.input = self._patched(Point.HEADS, z.clone())
        output = block.attn_out.output
        added = self._patched(Point.ATTENTION, _times(first_output(output).clone(), block.scale))
        output_to_give = _times(added, 1 / block.scale)
        block.attn_out.output = (output_to_give, *output[1:]) if isinstance(output, tuple) else output_to_give

    def _patched(self, point: Point, values: Tensor) -> Tensor:
        """Patch what stands at a point of the pass, `[copy, position, width]`."""
        for site in self._sites(point):
            values = access(site).patch(self, values)
        return values

    def _sites(self, point: Point) -> list[str]:
        """The sites that copies are patched at, of those at a point, in the order of the pass."""
        there = {copy.component.site for copy in self._copies}
        return [name for name, site in SITES.items() if name in there and site.point == point]


def _one_hot(indices: Sequence[int | None], count: int) -> Tensor:
    """bool `[index, entry]`, true at each index, or everywhere for None."""
    mask = torch.zeros(len(indices), count, dtype=torch.bool)
    for place, index in enumerate(indices):
        mask[place, slice(None) if index is None else index] = True
    return mask


def _times(values: Tensor, scale: float) -> Tensor:
    return values if scale == 1 else values * scale
