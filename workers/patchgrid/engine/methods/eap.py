"""Edge attribution patching: what a sender adds more in the source run, times the gradient where it is read.

Syed et al. 2023, arXiv 2310.10348, equation 2: score(u -> v) = (source - base) of what u adds to the residual
stream, times the base run's gradient at what v reads, taken before v's own norm, with the inputs of queries,
keys and values apart. Summed over all readers of a sender, `logits` included, it is that node's score by
`atp`: of a head, at `z`.

A head behind whose output projection a norm follows (Gemma 2 and 3, OLMo 2) adds what the norm's derivative,
at the base run, makes of its projected change: a score is the effect to first order, of that norm too, and
its partner, exact patching of the edge, sends what attention adds more once the head is changed.
"""

from collections.abc import Mapping

import torch
from einops import einsum
from torch import Tensor

from patchgrid.core.methods import EAP
from patchgrid.core.sites import EDGE
from patchgrid.engine.patching.readers import Readers, gradients
from patchgrid.engine.patching.senders import of_each_head
from patchgrid.engine.runs.activations import Activations
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.sites.base import head_view


def score(passes: Passes, _method: EAP) -> Mapping[str, Tensor]:
    """Score every edge from the source run, the base run and one backward.

    Gradients are contracted layer by layer as the backward pass comes by them, with what each layer's
    senders add recomputed, so that nothing is stored for all senders or all readers.

    Returns
    -------
    `edge`: float32 `[pair, edge, position]` or, where positions are not kept, `[pair, edge]`.
    """
    base = passes.base_with_graph()
    edges = EdgeScores(passes)
    with torch.enable_grad():  # whatever the caller's own mode is
        metric = passes.base_metric.sum()
    edges.add(base, metric, None if _same(passes) else passes.base_rows.row_of)
    return {EDGE: edges.found}


def _same(passes: Passes) -> bool:
    return len(passes.base_rows.first) == len(passes.base_rows.row_of)


class EdgeScores:
    """A batch's edge scores, summed over the runs whose gradients are added."""

    def __init__(self, passes: Passes) -> None:
        self._passes, self._layout = passes, passes.model.layout
        self._graph = self._layout.graph
        self._differs = passes.batch.differs[:, passes.cut :]
        layers = range(self._layout.n_layers)
        self._input = self._change("resid_pre", 0)
        self._z = [self._change("z", layer) for layer in layers]
        self._mlp = [self._change("mlp_out", layer) for layer in layers]
        positions = [self._differs.shape[1]] if passes.question.keep_positions else []
        #: float32 `[pair, edge, position]`, or `[pair, edge]` summed over positions.
        self.found = torch.zeros(
            len(passes.batch.pairs), self._graph.count, *positions, device=self._differs.device
        )

    def add(self, run: Activations, metric: Tensor, rows: tuple[int, ...] | None) -> None:
        """Add the scores by the gradients of a run, whose graph is spent by this.

        Parameters
        ----------
        metric
            The scalar to differentiate.
        rows
            Each pair's row of the run; None: a row a pair, in order.
        """
        for readers in gradients(self._layout, run, metric):
            with torch.no_grad():
                self._add(run, readers, rows)

    def _change(self, site: str, layer: int) -> Tensor:
        """Source minus base of a site, float32 `[pair, position, width]`, 0 where the two cannot differ."""
        passes = self._passes
        source = passes.replacement.at(site, layer).detach()
        base = passes.base_rows.of_pairs(passes.base.at(site, layer)).detach()
        width = min(source.shape[1], base.shape[1])
        change = source[:, -width:].float() - base[:, -width:].to(source.device).float()
        return change * self._differs[:, -width:, None].to(change.device)

    def _add(self, run: Activations, readers: Readers, rows: tuple[int, ...] | None) -> None:
        """Contract one layer's readers with all senders before them."""
        slopes = readers.gradients
        if rows is not None:
            slopes = slopes[torch.tensor(rows, device=slopes.device)]
        layer, width = readers.layer, slopes.shape[1]
        first = self._layer_first(layer)
        parts = [_product(self._input[:, -width:, None], slopes)]
        parts += [_product(self._sent(run, below, width, rows), slopes) for below in range(layer)]
        products = torch.cat(parts, dim=-1)
        if layer == self._layout.n_layers:
            self._put(first, products)
            return
        self._put(first, products[:, :, :-1])
        of_mlp = products[:, :, -1:]
        if not self._layout.parallel:
            heads = _product(self._heads(run, layer, width, rows), slopes[:, :, -1:])
            of_mlp = torch.cat([of_mlp, _widened(heads, width)], dim=-1)
        self._put(first + slopes.shape[2] - 1, of_mlp)

    def _layer_first(self, layer: int) -> int:
        """Number of a layer's first reader; after the last layer, of the logits."""
        return layer * (len(self._graph.readers) // self._layout.n_layers)

    def _put(self, reader: int, products: Tensor) -> None:
        """Add what was found of some readers, `[pair, position, reader, sender]`, to their edges."""
        begin, count = self._graph.offsets[reader], products.shape[2] * products.shape[3]
        flat = products.flatten(2).to(self.found.device)
        edges = self.found[:, begin : begin + count]
        if self._passes.question.keep_positions:
            edges[:, :, edges.shape[2] - flat.shape[1] :] += flat.transpose(1, 2)
        else:
            edges += flat.sum(1)

    def _sent(self, run: Activations, layer: int, width: int, rows: tuple[int, ...] | None) -> Tensor:
        """What a layer's heads and its MLP add more, `[pair, position, sender, d_model]`."""
        heads = self._heads(run, layer, width, rows)
        mlp = self._mlp[layer][:, -width:, None].to(heads.device)
        return torch.cat([heads, mlp], dim=2)

    def _heads(self, run: Activations, layer: int, width: int, rows: tuple[int, ...] | None) -> Tensor:
        change = self._z[layer][:, -width:]
        z = run.z[layer].detach()[:, -width:]
        if rows is not None and self._layout.blocks[layer].after_projection is not None:
            z = z[torch.tensor(rows, device=z.device)]
        return of_each_head(self._layout.blocks[layer], head_view(change, self._layout.n_heads), z)


def _product(sent: Tensor, slopes: Tensor) -> Tensor:
    """Contract `[pair, position, sender, d_model]` and `[pair, position, reader, d_model]`."""
    width = min(sent.shape[1], slopes.shape[1])
    return einsum(
        sent[:, -width:].to(slopes.device),
        slopes[:, -width:],
        "pair position sender width, pair position reader width -> pair position reader sender",
    )


def _widened(products: Tensor, width: int) -> Tensor:
    """Put zeros before what there is for the last position only."""
    missing = width - products.shape[1]
    return torch.nn.functional.pad(products, (0, 0, 0, 0, missing, 0))
