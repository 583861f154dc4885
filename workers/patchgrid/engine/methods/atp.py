"""Attribution patching: gradient of the base run times (source - base) activation.

Nanda 2023, https://www.neelnanda.io/mechanistic-interpretability/attribution-patching; AtP of Kramár et
al. 2024, arXiv 2403.00745, equation 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from einops import reduce
from torch import Tensor

from patchgrid.core.methods import AtP
from patchgrid.engine.runs.activations import Activations
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.runs.stacking import of_components, stacked
from patchgrid.engine.sites import access


def score(passes: Passes, _method: AtP) -> Mapping[str, Tensor]:
    """Score every component of the asked sites from the source run, the base run and one backward.

    The metric is summed, never averaged, over the batch: each pair's gradient is its own. Each score is made
    the moment its gradient is there, so that no gradient is kept.
    """
    scores = Scores(passes, passes.base_rows)
    base = passes.base_with_graph()
    with torch.enable_grad():  # whatever the caller's own mode is
        metric = passes.base_metric.sum()
        with scores.watching(base):
            torch.autograd.grad(metric, [base.stream[0]])
    return scores.by_site()


class Scores:
    """The scores of a batch as backward passes come by them: what several give is added up."""

    def __init__(self, passes: Passes, rows: Rows) -> None:
        self._passes = passes
        #: The rows of the run that gradients are taken of; it may have them several times, one after another.
        self._rows = rows
        #: The run that is watched.
        self.run: Activations
        self._found: dict[tuple[str, int], Tensor] = {}

    @contextmanager
    def watching(self, run: Activations) -> Iterator[None]:
        """Have every tensor whose gradient is needed score its sites when it is there."""
        self.run = run
        handles = self._watch(run)
        try:
            yield
        finally:
            # A hook holds on to all of the batch, its own tensor among it.
            for handle in handles:
                handle.remove()

    def _watch(self, run: Activations) -> list[Any]:
        uses: dict[Tensor, list[tuple[str, int]]] = {}
        for site in self._passes.question.sites:
            for layer in self._layers:
                watched = self._watched(run, site, layer)
                uses.setdefault(watched, []).append((site, layer))
        hooked: list[tuple[Any, Any]] = [
            (tensor, partial(self.add, keys=keys)) for tensor, keys in uses.items()
        ]
        return [tensor.register_hook(hook) for tensor, hook in hooked]

    def by_site(self) -> dict[str, Tensor]:
        """Return what was found, the layers of each site together; 0 where nothing can matter."""
        return {site: self._stacked(site) for site in self._passes.question.sites}

    def _watched(self, run: Activations, site: str, layer: int) -> Tensor:
        return access(site).watched(run, layer)

    def take(self) -> dict[tuple[str, int], Tensor]:
        """Return the gradients so far, by site and layer, and start again."""
        gradients, self._found = self._found, {}
        return gradients

    def put(self, scores: dict[tuple[str, int], Tensor]) -> None:
        """Take these scores, by site and layer, for what was found."""
        self._found = scores

    @torch.no_grad()
    def add(self, gradient: Tensor, keys: Sequence[tuple[str, int]]) -> None:
        """Score sites of layers by the gradient that is watched for them."""
        for key in keys:
            scored, before = self._scored(*key, gradient), self._found.get(key)
            self._found[key] = scored if before is None else before + scored

    def _scored(self, site: str, layer: int, gradient: Tensor) -> Tensor:
        """Score a site's components, as `of_components` gives them, by the gradient watched for it."""
        return of_components(self._passes, site, self._product(site, layer, gradient))

    def _product(self, site: str, layer: int, gradient: Tensor) -> Tensor:
        passes = self._passes
        here, slope = passes.base.at(site, layer), access(site).slope(self.run, layer, gradient)
        width = min(here.shape[1], slope.shape[1])
        source = passes.replacement.at(site, layer, positions=width)
        width = source.shape[1]
        base = passes.base_rows.of_pairs(here[:, -width:])
        slope = self._rows.of_pairs(self._summed(slope[:, -width:]))
        return (source - base.to(source.device)).float() * slope.to(source.device).float()

    def _summed(self, gradient: Tensor) -> Tensor:
        """Add up what the same row has several times."""
        times = len(gradient) // len(self._rows.first)
        if times == 1:
            return gradient
        return reduce(gradient, "(time row) position width -> row position width", "sum", time=times)

    def _stacked(self, site: str) -> Tensor:
        return stacked(self._passes, site, [self._found[site, layer] for layer in self._layers])

    @property
    def _layers(self) -> range:
        return range(self._passes.model.layout.n_layers)
