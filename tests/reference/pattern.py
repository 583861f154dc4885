"""Attention patterns with plain PyTorch: an eager model whose softmax is watched, or exchanged."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.engine import Component
from reference.metrics import make_metric
from reference.patching import TokenPair, positions_of
from reference.sites import last_logits, places

Array = NDArray[np.float64]
#: From a layer and its softmax's output, `[prompt, head, query position, key position (and a sink's)]`, to
#: what takes its place.
Exchange = Callable[[int, Tensor], Tensor]


@contextmanager
def _exchanging(model: Any, exchange: Exchange) -> Iterator[None]:
    """Have every softmax inside the model's eager attention function give what `exchange` makes of it."""
    blocks = model.get_submodule(places(model).blocks)
    layers = {id(module): layer for layer, block in enumerate(blocks) for module in block.modules()}
    own, softmax = sys.modules[type(model).__module__], torch.nn.functional.softmax
    function = own.eager_attention_forward

    def attention(module: Any, *args: Any, **options: Any) -> Any:
        seen = 0

        def watched(*inputs: Any, **how: Any) -> Tensor:
            nonlocal seen
            seen += 1
            return exchange(layers[id(module)], softmax(*inputs, **how))

        torch.nn.functional.softmax = watched  # type: ignore[assignment]
        try:
            output = function(module, *args, **options)
        finally:
            torch.nn.functional.softmax = softmax
        assert seen == 1, "an attention function makes one softmax"
        return output

    own.eager_attention_forward = attention
    try:
        yield
    finally:
        own.eager_attention_forward = function


def _run(model: Any, ids: list[int]) -> tuple[Tensor, list[Tensor]]:
    """Run one prompt; give its logits, and each layer's pattern with its graph."""
    patterns: list[Tensor] = []

    def keep(_layer: int, weights: Tensor) -> Tensor:
        patterns.append(weights)
        return weights

    with _exchanging(model, keep):
        return last_logits(model, [ids])[0], patterns


class PatternReference:
    """Both runs of one pair through an `eager` model, and what follows from them."""

    def __init__(self, model: Any, pair: TokenPair, direction: str) -> None:
        self._model, self._pair = model, pair
        clean, corrupted = _run(model, pair.clean), _run(model, pair.corrupted)
        self._clean = clean[0]
        denoise = direction == "denoise"
        (self._logits, self._base), (_, self._source) = (corrupted, clean) if denoise else (clean, corrupted)
        self._base_ids = pair.corrupted if denoise else pair.clean

    def _metric(self, name: str) -> Any:
        return make_metric(name, self._pair.correct, self._pair.incorrect, self._clean)

    def scores(self, metric: str, source: str = "pair") -> Array:
        """Score every head and query, `[layer, position, head]`: gradient times difference over all keys."""
        value = self._metric(metric)(self._logits)
        slopes = torch.autograd.grad(
            value, self._base, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        layers = [
            ((self._put_in(layer, source) - base) * slope)[0].sum(-1).T
            for layer, (base, slope) in enumerate(zip(self._base, slopes, strict=True))
        ]
        return torch.stack(layers).detach().double().numpy()

    def effects(self, components: Sequence[Component], metric: str, source: str = "pair") -> Array:
        """Patch each component's rows of the pattern exactly."""
        before = self._metric(metric)(self._logits.detach())
        return (self.moved(components, metric, source=source) - before).double().numpy()

    def moved(
        self, components: Sequence[Component], metric: str, share: float = 1.0, *, source: str = "pair"
    ) -> Tensor:
        """Return the metric with each component's pattern rows moved a share of the way to the source's.

        Each is moved alone, in a row of its own of one batch.
        """

        def write(layer: int, weights: Tensor) -> Tensor:
            mask = torch.zeros_like(weights)
            for row, component in enumerate(components):
                if component.layer == layer:
                    heads = slice(None) if component.index is None else component.index
                    mask[row, heads, positions_of(component, weights.shape[2])] = 1
            return weights + share * mask * (self._put_in(layer, source) - weights)

        with torch.no_grad(), _exchanging(self._model, write):
            logits = last_logits(self._model, [self._base_ids] * len(components))
            return torch.stack([self._metric(metric)(each) for each in logits])

    def _put_in(self, layer: int, source: str) -> Tensor:
        source_weights = self._source[layer].detach()
        return source_weights if source == "pair" else torch.zeros_like(source_weights)
