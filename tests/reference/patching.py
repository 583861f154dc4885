"""Attribution and exact patching with plain PyTorch hooks: one pair, unpadded, one row a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.engine import Component
from reference.metrics import Metric, make_metric
from reference.sites import by_position, by_prompt, last_logits, visiting

Array = NDArray[np.float64]
#: A component and the share of the way to the source's value by which it is moved.
Move = tuple[Component, float]
#: Rows of the base prompt in one forward.
ROWS = 128


@dataclass(frozen=True)
class TokenPair:
    """A prompt pair as token ids."""

    clean: list[int]
    corrupted: list[int]
    correct: list[int]
    incorrect: list[int]


@dataclass(frozen=True)
class Run:
    """One forward pass: its last logits, and every activation by site and layer, graph attached."""

    logits: Tensor
    activations: dict[tuple[str, int], Tensor]


def record(model: Any, ids: list[int]) -> Run:
    """Run one prompt and keep every site's tensor as it is."""
    seen: dict[tuple[str, int], Tensor] = {}

    def keep(site: str, layer: int, tensor: Tensor) -> None:
        seen.setdefault((site, layer), tensor)

    with visiting(model, keep):
        logits = last_logits(model, [ids])[0]
    return Run(logits, seen)


class Reference:
    """Both runs of one pair in one direction, and what follows from them."""

    def __init__(self, model: Any, pair: TokenPair, direction: str) -> None:
        self.model = model
        self.heads = model.config.num_attention_heads
        self.pair = pair
        clean, corrupted = record(model, pair.clean), record(model, pair.corrupted)
        self.clean, self.corrupted = clean, corrupted
        denoise = direction == "denoise"
        self.base, self.source = (corrupted, clean) if denoise else (clean, corrupted)
        self.base_ids = pair.corrupted if denoise else pair.clean

    def metric(self, name: str) -> Metric:
        """Return the named metric of this pair."""
        return make_metric(name, self.pair.correct, self.pair.incorrect, self.clean.logits)

    def scores(self, metric_name: str) -> dict[str, Array]:
        """Score every site: `[layer, position]`, with heads or neurons `[layer, position, head]`."""
        keys = list(self.base.activations)
        wanted = [self.base.activations[key] for key in keys]
        value = self.metric(metric_name)(self.base.logits)
        gradients = torch.autograd.grad(value, wanted, retain_graph=True)
        rows: dict[str, list[Array]] = {}
        for (site, layer), gradient in zip(keys, gradients, strict=True):
            change = self.source.activations[site, layer] - self.base.activations[site, layer]
            product = by_position(site, gradient * change, self.heads)
            score = product if site == "mlp_post" else product.sum(dim=-1)
            rows.setdefault(site, []).append(score.detach().double().numpy())
        return {site: np.stack(layers) for site, layers in rows.items()}

    def patched_logits(self, moves: Sequence[Move]) -> Tensor:
        """Run the base prompt once for each move, with that alone made: `[move, vocabulary]`."""
        logits: dict[int, Tensor] = {}
        for layer in {component.layer for component, _ in moves}:
            numbers = [number for number, (component, _) in enumerate(moves) if component.layer == layer]
            for start in range(0, len(numbers), ROWS):
                chosen = numbers[start : start + ROWS]
                rows = self._run_moved([moves[number] for number in chosen], layer)
                logits.update(zip(chosen, rows, strict=True))
        return torch.stack([logits[number] for number in range(len(moves))])

    def _run_moved(self, moves: Sequence[Move], layer: int) -> Tensor:
        """Make moves in one layer, a row each: no row reads another."""

        def write(site: str, layer: int, tensor: Tensor) -> None:
            for row, (component, share) in enumerate(moves):
                if component.site == site:
                    source = by_position(site, self.source.activations[site, layer].detach(), self.heads)
                    here = by_prompt(site, tensor, self.heads, len(moves))[row]
                    inner = slice(None) if component.index is None else component.index
                    cells = (positions_of(component, len(here)), inner)
                    here[cells] = (1 - share) * here[cells] + share * source[cells]

        with torch.no_grad(), visiting(self.model, write, only=layer):
            return last_logits(self.model, [self.base_ids] * len(moves))

    def effects(self, components: Sequence[Component], metric_names: Sequence[str]) -> dict[str, Array]:
        """Patch each component exactly; metric name to effects `[component]`."""
        metrics = {name: self.metric(name) for name in metric_names}
        before = {name: metric(self.base.logits.detach()) for name, metric in metrics.items()}
        effects: dict[str, list[float]] = {name: [] for name in metrics}
        for logits in self.patched_logits([(component, 1.0) for component in components]):
            for name, metric in metrics.items():
                effects[name].append(float(metric(logits) - before[name]))
        return {name: np.array(values) for name, values in effects.items()}


def positions_of(component: Component, length: int) -> list[int]:
    """List the positions that a component stands for."""
    if component.position is None:
        return list(range(length))
    chosen = component.position if isinstance(component.position, tuple) else (component.position,)
    return [index % length for index in chosen]
