"""Exact patching of sets of edges, as circuits are judged: in one run, block by block.

A reader reads the run's own stream, plus what is put in for the senders of its patched edges less what these
give in the run itself (Conmy et al. 2023, arXiv 2304.14997; Hanna, Pezzelle and Belinkov 2024, arXiv
2403.17806). So each block is run in three parts. Its queries, keys and values are made of the streams that
their readers read, a row of the pass for each different one. Its attention is run on these. Its MLP is run on
what it reads. Only what the blocks add is added to the stream, so that the senders behind are the run's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.core.component_sets import ComponentSet, EdgeSet, Part
from patchgrid.engine.model.taps import TAPS
from patchgrid.engine.patching.copies import Copy, Group
from patchgrid.engine.patching.nodes import PatchedRun
from patchgrid.engine.patching.senders import of_each_head, of_head
from patchgrid.engine.runs.memory import in_halves
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.replacement import Given
from patchgrid.engine.sites.base import head_view

#: Most numbers of what the copies of a pass keep of their senders: bounds memory.
_KEPT = 2**28


def edge_set_effects(
    passes: Passes, copies: Sequence[Copy], batch_tokens: int, on_forward: Callable[[int], None]
) -> Tensor:
    """Measure the effect of each copy's set of edges: metric(patched run) - metric(base run).

    Parameters and result are those of `nodes.effects`.
    """
    layout, graph = passes.model.layout, passes.model.layout.graph
    result = torch.tensor([torch.nan if copy.rounding else 0.0 for copy in copies], dtype=torch.float64)
    chosen = [place for place, copy in enumerate(copies) if not copy.rounding and _numbers(copy).size]
    width = passes.batch.width - passes.cut
    each = width * layout.d_model * len(graph.senders)
    count = max(1, min(batch_tokens // width, _KEPT // each))
    with torch.no_grad():
        base_metric = passes.base_rows.of_pairs(passes.base_metric)
        for first in range(0, len(chosen), count):
            places = chosen[first : first + count]

            def measured(some: Sequence[int]) -> Tensor:
                run = _SetRun(passes, [copies[place] for place in some], batch_tokens)
                return passes.measure(run.last(), run.pairs) - base_metric[run.pairs]

            result[places] = torch.cat(in_halves(measured, places)).double().cpu()
            on_forward(len(places))
    return result


def _numbers(copy: Copy) -> NDArray[np.int64]:
    assert isinstance(copy.patched, EdgeSet), "a copy of one edge is measured apart"
    return copy.patched.numbers


@dataclass(frozen=True, slots=True)
class _Heads:
    """What a layer's heads give in the run, and what is put in for them less that."""

    layer: int
    #: `[copy, position, head * head_dim]`, of the last positions.
    z: Tensor
    #: float32, of the same shape.
    change: Tensor


class _SetRun:
    """One pass of copies, each with a set of edges, over all positions from the first difference on."""

    def __init__(self, passes: Passes, copies: Sequence[Copy], batch_tokens: int) -> None:
        self._passes, self._layout = passes, passes.model.layout
        self._graph = self._layout.graph
        self._pairs = [copy.pair for copy in copies]
        #: int64 `[copy]`, places of their pairs.
        self.pairs = torch.tensor(self._pairs, device=passes.model.device)
        self._begin = passes.cut
        self._width = passes.batch.width - self._begin
        self._rows_at_once = max(1, batch_tokens // self._width)
        #: bool `[copy, edge]`, true where an edge is patched.
        self._patched = np.zeros((len(copies), self._graph.count), bool)
        for row, copy in enumerate(copies):
            self._patched[row, _numbers(copy)] = True
        base = passes.base.stream[0][:, -self._width :].detach()
        rows = torch.tensor([passes.base_rows.row_of[pair] for pair in self._pairs], device=base.device)
        #: What the next block reads but for its patched edges, `[copy, position, d_model]`.
        self._stream = base[rows]
        #: What is put in for each sender so far less what it gives, float32, `[copy, sender, position,
        #: d_model]`; where a norm follows the heads, theirs are in `_heads`.
        self._changes = self._stream.new_zeros(
            len(copies), len(self._graph.senders), *self._stream.shape[1:], dtype=torch.float32
        )
        self._heads: list[_Heads] = []
        self._changes[:, 0] = self._source("resid_pre", 0, self._width) - self._stream.float()

    def last(self) -> Tensor:
        """Run the copies; give what `Activations.last` is, `[copy, ...]`."""
        for layer in range(self._layout.n_layers):
            self._run_block(layer)
        layer = self._layout.n_layers - 1
        masks = self._masks([len(self._graph.readers) - 1])
        # Only the last position is read.
        self._stream = self._stream[:, -1:]
        changed = self._changed(np.arange(len(self._pairs)), masks[:, 0], self._stream)
        given = {("resid_post", layer): changed}
        run = self._run(layer + 1, self._pairs, given, within=False, last=True)
        return run.last()

    def _run_block(self, layer: int) -> None:
        """Run one block of all copies, and find what its senders change."""
        layout, block = self._layout, self._layout.blocks[layer]
        z, added = self._attention(layer)
        heads = _Heads(layer, z, self._source("z", layer, z.shape[1]) - z.float())
        first = 1 + layer * (layout.n_heads + 1)
        if block.after_projection is None:
            own = of_each_head(block, head_view(heads.change, layout.n_heads), z)
            own = rearrange(own, "copy position head width -> copy head position width")
            self._changes[:, first : first + layout.n_heads, -own.shape[2] :] = own
        else:
            self._heads.append(heads)
        mlp_out = self._mlp(layer, added)
        change = self._source("mlp_out", layer, mlp_out.shape[1]) - mlp_out.float()
        self._changes[:, first + layout.n_heads, -change.shape[1] :] = change
        width = added.shape[1]
        self._stream = self._stream[:, -width:].to(added.device) + added + mlp_out.to(added.device)

    def _attention(self, layer: int) -> tuple[Tensor, Tensor]:
        """Run a block's attention on what its readers read: its `z` and what it adds."""
        readers = self._readers(layer)[:-1]
        masks = self._masks(readers)
        rows, of_readers = _different(masks)
        copies, own = rows // masks.shape[1], masks.reshape(-1, masks.shape[2])[rows]
        if not self._graph.split:
            changed = self._changed(np.arange(len(self._pairs)), masks[:, 0], self._stream)
            run = self._run(layer, self._pairs, {("resid_pre", layer): changed}, within=False)
            return run.attention_of_first_block()
        taps = self._taps(layer, copies, own)
        given = {("resid_pre", layer): self._stream}
        first = 0
        for site in TAPS:
            count = self._layout.count(site) or 1
            chosen = torch.from_numpy(of_readers[:, first : first + count]).to(taps[site].device)
            by_head = rearrange(taps[site], "row position (head dim) -> row head position dim", head=count)
            heads = by_head[chosen, torch.arange(count, device=chosen.device)]
            given[site, layer] = rearrange(heads, "copy head position dim -> copy position (head dim)")
            first += count
        run = self._run(layer, self._pairs, given, within=False)
        return run.attention_of_first_block()

    def _taps(self, layer: int, copies: NDArray[np.int64], masks: NDArray[np.bool_]) -> dict[str, Tensor]:
        """Make queries, keys and values of streams, a row for each mask `[row, sender]` of a copy."""
        parts: list[dict[str, Tensor]] = []
        for first in range(0, len(copies), self._rows_at_once):
            places = list(range(first, min(len(copies), first + self._rows_at_once)))
            parts += in_halves(partial(self._taps_of, layer, copies, masks), places)
        return {site: torch.cat([part[site] for part in parts]) for site in TAPS}

    def _taps_of(
        self, layer: int, copies: NDArray[np.int64], masks: NDArray[np.bool_], places: Sequence[int]
    ) -> dict[str, Tensor]:
        chosen = list(places)
        changed = self._changed(copies[chosen], masks[chosen], self._stream)
        pairs = [self._pairs[copy] for copy in copies[chosen].tolist()]
        return self._run(layer, pairs, {("resid_pre", layer): changed}, within=False).taps_of_first_block()

    def _mlp(self, layer: int, added: Tensor) -> Tensor:
        """Run a block's MLP on what it reads: what it adds."""
        masks, every = self._masks([self._readers(layer)[-1]])[:, 0], np.arange(len(self._pairs))
        if self._layout.parallel:
            changed = self._changed(every, masks, self._stream)
            run = self._run(layer, self._pairs, {("resid_pre", layer): changed}, within=False)
            return run.in_first_block("mlp_out")
        given = {("resid_pre", layer): self._stream, ("attn_out", layer): self._changed(every, masks, added)}
        return self._run(layer, self._pairs, given, within=True).in_first_block("mlp_out")

    def _changed(self, copies: NDArray[np.int64], masks: NDArray[np.bool_], values: Tensor) -> Tensor:
        """Add to copies' values what their patched senders change, `[row, position, d_model]`.

        `copies` `[row]` are the rows' copies, `masks` bool `[row, sender]` which senders are patched.
        """
        width, device = values.shape[1], self._changes.device
        total = torch.zeros(len(copies), width, values.shape[2], dtype=torch.float32, device=device)
        for copy in np.unique(copies).tolist():
            own = np.flatnonzero(copies == copy)
            weights = torch.from_numpy(masks[own]).to(device, torch.float32)
            changes = self._changes[copy, : masks.shape[1], -width:]
            total[own] = torch.tensordot(weights, changes, 1)
        for heads in self._heads:
            total += self._of_heads(heads, copies, masks, width)
        rows = torch.from_numpy(copies).to(values.device)
        return (values[rows].float() + total.to(values.device)).to(values.dtype)

    def _of_heads(
        self, heads: _Heads, copies: NDArray[np.int64], masks: NDArray[np.bool_], width: int
    ) -> Tensor:
        """Return what patched heads of a layer with a norm behind them change together."""
        count = self._layout.n_heads
        first = 1 + heads.layer * (count + 1)
        rows = torch.from_numpy(copies).to(heads.change.device)
        own = torch.zeros(len(copies), count, device=heads.change.device)
        there = masks[:, first : first + count]
        own[:, : there.shape[1]] = torch.from_numpy(there).float()
        change = head_view(heads.change[rows].clone(), count) * own[:, None, :, None]
        found = of_head(
            self._layout.blocks[heads.layer],
            rearrange(change, "row position head dim -> row position (head dim)"),
            heads.z[rows],
        )
        padded = torch.nn.functional.pad(found, (0, 0, max(0, width - found.shape[1]), 0))
        return padded[:, -width:].to(self._changes.device)

    def _run(
        self,
        layer: int,
        pairs: Sequence[int],
        given: dict[tuple[str, int], Tensor],
        *,
        within: bool,
        last: bool = False,
    ) -> PatchedRun:
        """Make a run of rows from a block on, with activations given at some sites."""
        patched = ComponentSet(tuple(Part(site, at, None) for site, at in given))
        copies = [Copy(pair, patched) for pair in pairs]
        where = torch.zeros(len(copies) * len(patched.parts), self._passes.batch.width, dtype=torch.bool)
        where[:, -1 if last else self._begin :] = True
        group = Group(layer, within, self._begin, tuple(range(len(copies))))
        return PatchedRun(self._passes, group, copies, where, Given(given))

    def _readers(self, layer: int) -> list[int]:
        """The numbers of a layer's readers, its MLP last."""
        count = len(self._graph.readers) // self._layout.n_layers
        return list(range(layer * count, (layer + 1) * count))

    def _masks(self, readers: Sequence[int]) -> NDArray[np.bool_]:
        """bool `[copy, reader, sender]`: the patched edges of readers that read the same senders."""
        offsets, reads = self._graph.offsets, self._graph.reads[readers[0]]
        return np.stack(
            [self._patched[:, offsets[reader] : offsets[reader] + reads] for reader in readers], axis=1
        )

    def _source(self, site: str, layer: int, width: int) -> Tensor:
        """What is put in at a site, float32 `[copy, position, width]`, of the last positions."""
        values = self._passes.replacement.at(site, layer, pairs=self.pairs, positions=width)
        return values.float()


def _different(masks: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find masks `[copy, reader, sender]` that differ within a copy.

    Returns
    -------
    int64 `[row]`, a place among copies and readers for each different one, and int64 `[copy, reader]`, the
    rows that have theirs.
    """
    copies, readers, _ = masks.shape
    packed = np.packbits(masks.reshape(copies * readers, -1), axis=1)
    keys = np.concatenate([np.repeat(np.arange(copies), readers)[:, None].view(np.uint8), packed], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.ravel()].reshape(copies, readers)
