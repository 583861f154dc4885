"""Exact activation patching: many patched copies in one forward pass, no more of it than a patch changes.

A copy whose first patch lies at layer L runs only the blocks from L on, from its first patched position on:
the base run's residual stream stands in for the output of the blocks before, its keys and values for the
positions before. What follows is live: further patches of the copy overwrite what the pass has come to.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import nnsight
import torch
from torch import Tensor

from patchgrid.core.sites import Point
from patchgrid.engine.model.layout import Layout
from patchgrid.engine.model.taps import TAPS
from patchgrid.engine.patching.blocks import PatchedBlock
from patchgrid.engine.patching.copies import Copy, Group, groups, patched_positions, rows_of_parts
from patchgrid.engine.patching.patches import Patches
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
from patchgrid.engine.sites import Run
from patchgrid.engine.sites.base import by_position


def effects(
    passes: Passes, copies: Sequence[Copy], batch_tokens: int, on_forward: Callable[[int], None]
) -> Tensor:
    """Measure each copy's effect: metric(patched run) - metric(base run).

    A patch that nothing can come of (before its pair's first difference; in the last block, not at the last
    position) has effect 0 and costs nothing; of a copy that is there for its rounding, NaN. `on_forward` is
    called after each forward pass with its number of copies.

    Returns
    -------
    float64 `[copy]`, on the CPU, in metric units.
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
        bool `[part, position]`: see `patched_positions`.
    replacement_of
        Makes what is put in, from a group and its copies' places; None: what the passes put in.
    """
    with torch.no_grad():
        base_metric = passes.base_rows.of_pairs(passes.base_metric)

        def measured(group: Group, places: Sequence[int]) -> Tensor:
            some = [copies[place] for place in places]
            pairs = torch.tensor([copy.pair for copy in some], device=passes.model.device)
            new = None if replacement_of is None else replacement_of(group, places)
            own = [row for place in places for row in rows[place]]
            last = PatchedRun(passes, group, some, where[own], new).last()
            return passes.measure(last, pairs) - base_metric[pairs]

        n_layers, short = passes.model.layout.n_layers, passes.model.shortcuts.prefix
        rows, places = rows_of_parts(copies), list[int]()
        effects_of_groups = [torch.zeros(0, device=passes.model.device, dtype=torch.float64)]
        for group in groups(passes.batch, copies, where, n_layers, batch_tokens, cut_short=short):
            effects_of_groups += in_halves(partial(measured, group), group.places)
            places += group.places
            on_forward(len(group.places))
        result = torch.tensor([torch.nan if copy.rounding else 0.0 for copy in copies], dtype=torch.float64)
        # Only here the host waits for the device.
        result[places] = torch.cat(effects_of_groups).cpu()
    return result


class PatchedRun:
    """One forward pass of patched copies that start together.

    Parameters
    ----------
    where
        bool `[part, position]`, of all positions: see `patched_positions`.
    replacement
        What is put in; None: what the passes put in.
    """

    def __init__(
        self,
        passes: Passes,
        group: Group,
        copies: Sequence[Copy],
        where: Tensor,
        replacement: Replacement | None = None,
    ) -> None:
        self._passes, self._group = passes, group
        self._replacement = replacement or passes.replacement
        self._model = passes.model
        device = self._model.device
        #: What the copies are patched with.
        self.patches = Patches(copies, where)
        pairs = [copy.pair for copy in copies]
        #: int64 `[copy]`, their rows of the base run.
        self.rows = torch.tensor([passes.base_rows.row_of[pair] for pair in pairs], device=device)
        self._pairs = torch.tensor(pairs, device=device)
        rounding = [place for place, copy in enumerate(copies) if copy.rounding]
        if rounding:
            chosen = torch.tensor(rounding, device=device)
            self._replacement = Rounding(self._replacement, passes.base, chosen, self.rows[chosen])

    def last(self) -> Tensor:
        """Run the copies; give what `Activations.last` is, `[copy, ...]`."""
        layers = range(self._group.start, self.layout.n_layers)
        stream = self._stream()
        first = [self._first_block(stream)] if layers else []
        following = [
            PatchedBlock(self, layer)
            for layer in layers[1:]
            if layer in self.patches.layers or self._last_only(layer)
        ]
        kept = Activations(torch.empty(0))
        with self._model.envoy.trace(**self._inputs()):
            self._enter(stream)
            for block in (*first, *following):
                block.enter()
                block.run(last_only=self._last_only(block.layer))
                block.leave()
            kept.last = read_last(self._model)
        return kept.last

    def in_first_block(self, site: str) -> Tensor:
        """Run the copies' first block alone, and no further than to a site of it.

        Returns
        -------
        `[copy, position, width]`, of `q`, `k`, `v`, `attn_out` or `mlp_out`; the last position alone where
        that is all that the last block works for.
        """
        start = self._group.start
        block, last_only = self.layout.blocks[start], self._last_only(start)
        stream = self._stream()
        first = self._first_block(stream)
        with self._model.envoy.trace(**self._inputs()) as tracer:
            self._enter(stream)
            if site in TAPS:
                activation = nnsight.save(by_position(getattr(block, site).output)[:, -self.width :])
            elif site == "attn_out":
                if last_only:
                    work_for_last_only(block)
                added = first_output(block.attn_out.output)
                activation = nnsight.save(added if block.scale == 1 else added * block.scale)
            else:
                first.run(last_only=last_only)
                activation = nnsight.save(
                    added_by_mlp(block, stream.shape if not last_only else stream[:, :1].shape)
                )
            tracer.stop()
        values: Tensor = activation
        return values

    def taps_of_first_block(self) -> dict[str, Tensor]:
        """Run the copies' first block as far as its queries, keys and values: `[copy, position, width]`."""
        block, stream, found = self.layout.blocks[self._group.start], self._stream(), dict[str, Tensor]()
        with self._model.envoy.trace(**self._inputs()) as tracer:
            self._enter(stream)
            for site in TAPS:
                found[site] = nnsight.save(by_position(getattr(block, site).output)[:, -self.width :])
            tracer.stop()
        return found

    def attention_of_first_block(self) -> tuple[Tensor, Tensor]:
        """Run the copies' first block as far as its attention: give `z` and `attn_out`.

        Returns
        -------
        Both `[copy, position, width]`, or the last position alone where that is all that the last block works
        for.
        """
        start = self._group.start
        block, stream = self.layout.blocks[start], self._stream()
        first = self._first_block(stream)
        with self._model.envoy.trace(**self._inputs()) as tracer:
            self._enter(stream)
            first.run_attention(last_only=self._last_only(start))
            z = nnsight.save(block.projection.input)
            added = first_output(block.attn_out.output)
            added = nnsight.save(added if block.scale == 1 else added * block.scale)
            tracer.stop()
        return z, added

    def _stream(self) -> Tensor:
        """The stream `[copy, position, d_model]` that enters the first block, patched where it is."""
        start = self._group.start
        stream = self.of_base(self._passes.base.stream[start])
        if start:
            stream = PatchedBlock(self, start - 1).patched(Point.OUTPUT, stream)
        if start < self.layout.n_layers:
            stream = PatchedBlock(self, start).patched(Point.INPUT, stream)
        # What comes out of the last block may be there for the last position only.
        return stream.expand(-1, self.width, -1)

    def _first_block(self, stream: Tensor) -> PatchedBlock:
        """Make the first block that runs; its attention is not run where it need not be."""
        within = self._group.within
        block = PatchedBlock(self, self._group.start, stream, as_base=within)
        if within and self._model.shortcuts.attention:
            block.attention_of_base()
        return block

    def _enter(self, stream: Tensor) -> None:
        """Inside the trace, have the first block that runs read a stream, and none before it run."""
        blocks, start = self.layout.blocks, self._group.start
        for block in blocks[:start]:
            block.layer.skip(block.gives(stream))
        if start == 0:
            blocks[0].layer.input = stream

    def _last_only(self, layer: int) -> bool:
        return self._model.shortcuts.last_block and layer == self.layout.n_layers - 1

    def _inputs(self) -> dict[str, Any]:
        rows, begin = self._passes.base_rows, self._group.begin
        index, kv_cache = self.rows, self._passes.base.kv_cache
        own = replace(
            rows,
            tokens=rows.tokens[index],  # not read: the stream takes the place of the first block's input
            attention_mask=rows.attention_mask[index],
            position_ids=rows.position_ids[index],
        )
        cache = kv_cache.cache(begin, index) if kv_cache is not None and begin else None
        return model_inputs(self._model, own, begin, cache)

    @property
    def layout(self) -> Layout:
        """The model's parts."""
        return self._model.layout

    @property
    def base_run(self) -> Run:
        """The base run."""
        return self._passes.base

    @property
    def width(self) -> int:
        """Number of positions that the copies run."""
        return self._passes.batch.width - self._group.begin

    def of_base(self, values: Tensor) -> Tensor:
        """From the base run, `[base row, position, width]`, to `[copy, position, width]`."""
        return values[:, -self.width :][self.rows.to(values.device)]

    def new(self, site: str, layer: int, positions: int) -> Tensor:
        """What is put in at a site, `[copy, position, width]`: its last positions."""
        return self._replacement.at(site, layer, pairs=self._pairs, positions=positions)
