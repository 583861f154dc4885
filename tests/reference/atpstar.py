"""AtP* by its definitions: one query or key at a time through the model's own softmax; layers cut off."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from reference.metrics import make_metric
from reference.patching import Reference, TokenPair
from reference.sites import by_position, last_logits, places, visiting

Array = NDArray[np.float64]


def eager(folder: object) -> Any:
    """Load a model whose attention computes its softmax in the open."""
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


@dataclass(frozen=True)
class Call:
    """One call of an attention function on one prompt."""

    function: Any
    module: Any
    query: Tensor
    key: Tensor
    value: Tensor
    rest: tuple[Any, ...]
    options: dict[str, Any]
    #: What each head attends to, `[1, head, query position, key position]`, graph attached.
    weights: Tensor

    def again(self, query: Tensor, key: Tensor) -> Tensor:
        """Attend with other queries and keys."""
        weights: Tensor = self.function(self.module, query, key, self.value, *self.rest, **self.options)[1]
        return weights


@contextmanager
def _telling(model: Any, calls: list[Call]) -> Iterator[None]:
    own = sys.modules[type(model).__module__]
    function = own.eager_attention_forward

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any
    ) -> tuple[Tensor, Tensor]:
        output, weights = function(module, query, key, value, *rest, **options)
        calls.append(Call(function, module, query, key, value, rest, options, weights))
        return output, weights

    own.eager_attention_forward = attention
    try:
        yield
    finally:
        own.eager_attention_forward = function


def _attend(model: Any, ids: list[int]) -> tuple[Tensor, list[Call]]:
    calls: list[Call] = []
    with _telling(model, calls):
        logits = last_logits(model, [ids])[0]
    return logits, calls


def qk_scores(model: Any, pair: TokenPair, direction: str, metric_name: str) -> dict[str, Array]:
    """Score queries and keys of an `eager` model, `[layer, position, head]`.

    The softmax with one position's query (or key) of the source in its place, minus the one without, times
    the gradient at the softmax's output, summed over all of it that belongs to the head.
    """
    clean_logits, clean = _attend(model, pair.clean)
    corrupted_logits, corrupted = _attend(model, pair.corrupted)
    denoise = direction == "denoise"
    base, source = (corrupted, clean) if denoise else (clean, corrupted)
    metric = make_metric(metric_name, pair.correct, pair.incorrect, clean_logits)
    value = metric(corrupted_logits if denoise else clean_logits)
    weights = [call.weights for call in base]
    slopes = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        layers = [_layer(*each) for each in zip(base, source, slopes, strict=True)]
    return {site: np.stack([layer[site].double().numpy() for layer in layers]) for site in ("q", "k")}


def dropped_qk_scores(model: Any, pair: TokenPair, direction: str, metric_name: str) -> dict[str, Array]:
    """Score queries and keys of an `eager` model by `qk_scores` in each of GradDrop's passes."""
    layers = model.config.num_hidden_layers
    total: dict[str, Array] = {}
    for layer in range(layers):
        with _cut_off(model, layer):
            for site, scores in qk_scores(model, pair, direction, metric_name).items():
                total[site] = total.get(site, 0) + np.abs(scores) / (layers - 1)
    return total


def _layer(base: Call, source: Call, slope: Tensor) -> dict[str, Tensor]:
    """Score one layer, `[position, head]`."""
    length, kv_heads = base.query.shape[2], base.key.shape[1]
    before = base.again(base.query, base.key)
    queries, keys = [], []
    for position in range(length):
        query, key = base.query.clone(), base.key.clone()
        query[:, :, position] = source.query[:, :, position]
        key[:, :, position] = source.key[:, :, position]
        queries.append(((base.again(query, base.key) - before) * slope).sum((0, 2, 3)))
        by_query_head = ((base.again(base.query, key) - before) * slope).sum((0, 2, 3))
        keys.append(by_query_head.view(kv_heads, -1).sum(1))
    return {"q": torch.stack(queries), "k": torch.stack(keys)}


def dropped_scores(reference: Reference, metric_name: str) -> dict[str, Array]:
    """Score every site like `Reference.scores`, by GradDrop: absolute estimates, over layers less one.

    Each of as many runs as there are layers cuts one layer's attention and MLP off from the gradient.
    """
    layers = reference.model.config.num_hidden_layers
    passes = [_dropped(reference, metric_name, layer) for layer in range(layers)]
    return {site: sum(np.abs(each[site]) for each in passes) / (layers - 1) for site in passes[0]}


def _dropped(reference: Reference, metric_name: str, layer: int) -> dict[str, Array]:
    seen: dict[tuple[str, int], Tensor] = {}

    def keep(site: str, layer: int, tensor: Tensor) -> None:
        seen[site, layer] = tensor

    with visiting(reference.model, keep), _cut_off(reference.model, layer):
        value = reference.metric(metric_name)(last_logits(reference.model, [reference.base_ids])[0])
    slopes = torch.autograd.grad(value, list(seen.values()), materialize_grads=True, allow_unused=True)
    rows: dict[str, list[Array]] = {}
    for (site, place), slope in zip(seen, slopes, strict=True):
        change = reference.source.activations[site, place] - seen[site, place]
        product = by_position(site, (slope * change).detach(), reference.heads)
        score = product if site == "mlp_post" else product.sum(dim=-1)
        rows.setdefault(site, []).append(score.double().numpy())
    return {site: np.stack(layers) for site, layers in rows.items()}


@contextmanager
def _cut_off(model: Any, layer: int) -> Iterator[None]:
    """Zero the gradient of what one layer's attention and MLP add to the stream, behind all other hooks."""
    where = places(model)
    block = model.get_submodule(where.blocks)[layer]

    def cut(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (_cut(output[0]), *output[1:])
        return _cut(output)

    paths = dict.fromkeys((where.attn_out, where.mlp_out))
    handles = [block.get_submodule(path).register_forward_hook(cut) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Cut(torch.autograd.Function):
    """The identity, whose gradient is zero."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(gradient)


_cut = _Cut.apply


def sharpen(model: Any, factor: float) -> None:
    """Enlarge every query and key, so that attention saturates."""
    width = {name: parameter.shape for name, parameter in model.named_parameters()}
    heads, config = model.config.num_attention_heads, model.config
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            kind = name.rpartition(".")[0].rpartition(".")[2]
            if kind in ("q_proj", "k_proj", "q_norm", "k_norm", "q_layernorm", "k_layernorm"):
                parameter.mul_(factor)
            elif kind == "c_attn":
                parameter[..., : 2 * width[name][-1] // 3].mul_(factor)
            elif kind == "query_key_value":
                by_head = parameter.view(heads, 3, width[name][0] // heads // 3, *width[name][1:])
                by_head[:, :2].mul_(factor)
            elif kind == "qkv_proj":
                groups = heads + 2 * config.num_key_value_heads
                parameter[: width[name][0] // groups * (groups - config.num_key_value_heads)].mul_(factor)


def largest_gap(found: dict[str, Array], other: dict[str, Array], sites: Sequence[str]) -> float:
    """Return the largest difference between two sets of scores."""
    return max(float(np.abs(found[site] - other[site]).max()) for site in sites)
