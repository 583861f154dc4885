"""Exact patching of edges (path patching): what one reader reads changes by what one sender adds more.

Goldowsky-Dill et al. 2023, arXiv 2304.05969, for paths of one edge: everything else that is read is the base
run's, what follows the reader is recomputed. First the reader's part of its block is run on the changed
stream, to see what the reader gives there; then that is patched into the base run, as a node is. What a
sender adds more is taken from the two unpatched runs; of a head, it is what its layer's attention adds more
once that head's `z` is the source's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from patchgrid.core.component_sets import EdgeSet
from patchgrid.core.types import Component
from patchgrid.engine.patching.copies import Copy, Group, patched_positions
from patchgrid.engine.patching.edge_sets import edge_set_effects
from patchgrid.engine.patching.nodes import PatchedRun, effects_at
from patchgrid.engine.patching.senders import of_head
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.replacement import Given
from patchgrid.engine.sites.base import head_view


def edge_effects(
    passes: Passes, copies: Sequence[Copy], batch_tokens: int, on_forward: Callable[[int], None]
) -> Tensor:
    """Measure the effect of each copy's edge: metric(patched run) - metric(base run).

    Parameters and result are those of `patching.effects`.
    """
    sets = [place for place, copy in enumerate(copies) if isinstance(copy.patched, EdgeSet)]
    if sets:
        return _with_sets(passes, copies, sets, batch_tokens, on_forward)
    sent_at = patched_positions(passes.batch, copies)
    edges = [_single(copy) for copy in copies]
    readers = [_read(passes, edge) for edge in edges]
    read = [replace(copy, patched=reader) for copy, reader in zip(copies, readers, strict=True)]
    where = sent_at.clone()
    for place, reader in enumerate(readers):
        if reader.site == "attn_out":
            # What attention gives changes from there on.
            where[place] = sent_at[place].cummax(0).values

    def replacement_of(group: Group, places: Sequence[int]) -> Given:
        some = [read[place] for place in places]
        senders = [_sender(edges[place]) for place in places]
        with torch.no_grad():
            return _Reading(passes, group, some, senders, sent_at[list(places)]).replacement_of()

    return effects_at(passes, read, where, batch_tokens, on_forward, replacement_of)


def _with_sets(
    passes: Passes,
    copies: Sequence[Copy],
    sets: Sequence[int],
    batch_tokens: int,
    on_forward: Callable[[int], None],
) -> Tensor:
    """Measure copies that are patched with sets of edges, and others with one edge each."""
    singles = sorted(set(range(len(copies))) - set(sets))
    result = torch.zeros(len(copies), dtype=torch.float64)
    result[list(sets)] = edge_set_effects(passes, [copies[place] for place in sets], batch_tokens, on_forward)
    if singles:
        result[singles] = edge_effects(passes, [copies[place] for place in singles], batch_tokens, on_forward)
    return result


def _single(copy: Copy) -> Component:
    """Return the edge that a copy is patched with."""
    assert isinstance(copy.patched, Component), "sets are measured apart"
    return copy.patched


def _read(passes: Passes, edge: Component) -> Component:
    """Name the site through which an edge's reader acts."""
    layout = passes.model.layout
    _, _, reader = (edge.edge or "").partition("->")
    if reader == "logits":
        return Component("resid_post", layout.n_layers - 1, position=edge.position)
    layer, _, inner = reader[1:].partition(".h")
    if inner:
        head, _, site = inner.rstrip(">").partition("<")
        return Component(site, int(layer), int(head), position=edge.position)
    return Component("mlp_out" if reader[0] == "m" else "attn_out", int(layer), position=edge.position)


def _sender(edge: Component) -> Component:
    """Name the site at which an edge's sender is."""
    if edge.index is not None:
        return Component("z", edge.layer, edge.index)
    return Component("resid_pre" if (edge.edge or "").startswith("input") else "mlp_out", edge.layer)


class _Reading:
    """Copies of one group on the streams that their readers read."""

    def __init__(
        self,
        passes: Passes,
        group: Group,
        copies: Sequence[Copy],
        senders: Sequence[Component],
        where: Tensor,
    ) -> None:
        self._passes, self._group, self._copies, self._senders = passes, group, copies, senders
        self._readers = [_single(copy) for copy in copies]
        #: bool `[copy, position]`, the whole batch's positions.
        self._where = where
        self._layout = passes.model.layout

    def replacement_of(self) -> Given:
        """Find what each copy's reader gives on its changed stream."""
        keys = dict.fromkeys((reader.site, reader.layer) for reader in self._readers)
        return Given({key: self._of_site(*key) for key in keys})

    def _of_site(self, site: str, layer: int) -> Tensor:
        """What the readers that act through a site give, `[copy, position, width]`; of other copies, 0."""
        mine = [
            place
            for place, reader in enumerate(self._readers)
            if (reader.site, reader.layer) == (site, layer)
        ]
        begin = self._begin(site, mine)
        if site == "resid_post":
            changed = self._changed("resid_post", layer, mine, self._passes.batch.width - begin)
        else:
            changed = self._run(site, layer, mine, begin)
        values = changed.new_zeros(len(self._copies), *changed.shape[1:])
        values[torch.tensor(mine, device=values.device)] = changed
        return values

    def _begin(self, site: str, mine: list[int]) -> int:
        """The first position that has to be run."""
        if site != "attn_out" or not self._passes.model.shortcuts.prefix:
            return self._group.begin
        return int(self._where[mine].int().argmax(1).min())

    def _run(self, site: str, layer: int, mine: list[int], begin: int) -> Tensor:
        """Run a block on the changed stream; of copies that differ in where it changes before its MLP."""
        behind = site == "mlp_out" and not self._layout.parallel
        entry = "attn_out" if behind else "resid_pre"
        changed = self._changed(entry, layer, mine, self._passes.batch.width - begin)
        copies = [Copy(self._copies[place].pair, Component(entry, layer)) for place in mine]
        group = Group(layer, behind, begin, tuple(range(len(mine))))
        values = Given({(entry, layer): changed})
        return PatchedRun(self._passes, group, copies, self._where[mine], values).in_first_block(site)

    def _changed(self, site: str, layer: int, mine: list[int], width: int) -> Tensor:
        """The base run's activation, plus what each copy's sender adds more, `[copy, position, d_model]`."""
        base = self._of_base(site, layer, mine, width)
        change = torch.zeros_like(base, dtype=torch.float32)
        for sender in dict.fromkeys(
            (self._senders[place].site, self._senders[place].layer) for place in mine
        ):
            places = [
                number
                for number, place in enumerate(mine)
                if (self._senders[place].site, self._senders[place].layer) == sender
            ]
            sent = self._sent(*sender, [mine[number] for number in places], width).to(change.device)
            change[torch.tensor(places, device=change.device), change.shape[1] - sent.shape[1] :] = sent
        return (base.float() + change).to(base.dtype)

    def _sent(self, site: str, layer: int, mine: list[int], width: int) -> Tensor:
        """What copies' senders, all at one site, add more: float32 `[copy, position, d_model]`."""
        pairs = torch.tensor([self._copies[place].pair for place in mine], device=self._passes.model.device)
        source = self._passes.replacement.at(site, layer, pairs=pairs, positions=width)
        base = self._of_base(site, layer, mine, width).to(source.device)
        change = source.float() - base.float()
        if site == "z":
            heads = torch.tensor([self._senders[place].index for place in mine], device=change.device)
            others = torch.arange(self._layout.n_heads, device=change.device) != heads[:, None]
            head_view(change, self._layout.n_heads).masked_fill_(others[:, None, :, None], 0)
            change = of_head(self._layout.blocks[layer], change, base)
        where = self._where[mine][:, -change.shape[1] :, None].to(change.device)
        return change * where

    def _of_base(self, site: str, layer: int, mine: list[int], width: int) -> Tensor:
        """From the base run, `[copy, position, width]`."""
        values = self._passes.base.at(site, layer)[:, -width:].detach()
        rows = [self._passes.base_rows.row_of[self._copies[place].pair] for place in mine]
        return values[torch.tensor(rows, device=values.device)]
