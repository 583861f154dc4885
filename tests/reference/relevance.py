"""RelP's backward rules written out by hand for a few families, by other `forward`s of their modules."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

Forward = Callable[..., Tensor]


def _layer_norm(norm: Any) -> Forward:
    def forward(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt().detach()
        return centred / deviation * norm.weight + norm.bias

    return forward


def _rms_norm(norm: Any) -> Forward:
    def forward(x: Tensor) -> Tensor:
        size = (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt().detach()
        return x / size * norm.weight

    return forward


def _gemma_norm(norm: Any) -> Forward:
    def forward(x: Tensor) -> Tensor:
        size = (x.square().mean(-1, keepdim=True) + norm.eps).sqrt().detach()
        return x / size * (1 + norm.weight)

    return forward


def _constant_ratio(activation: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return x * (activation(x) / x).detach()


def _two_layers(mlp: Any, up: str, down: str) -> Forward:
    activation = mlp.act.forward
    return lambda x: getattr(mlp, down)(_constant_ratio(activation, getattr(mlp, up)(x)))


def _gated(mlp: Any) -> Forward:
    activation = mlp.act_fn.forward

    def forward(x: Tensor) -> Tensor:
        product = _constant_ratio(activation, mlp.gate_proj(x)) * mlp.up_proj(x)
        return mlp.down_proj(product / 2 + product.detach() / 2)

    return forward


def _forwards(model: Any) -> Iterator[tuple[Any, Forward]]:
    """Yield the modules that are changed, and how, taken from transformers' modelling files."""
    match model.config.model_type:
        case "gpt2":
            yield model.transformer.ln_f, _layer_norm(model.transformer.ln_f)
            for block in model.transformer.h:
                yield from ((norm, _layer_norm(norm)) for norm in (block.ln_1, block.ln_2))
                yield block.mlp, _two_layers(block.mlp, "c_fc", "c_proj")
        case "gpt_neox":
            yield model.gpt_neox.final_layer_norm, _layer_norm(model.gpt_neox.final_layer_norm)
            for block in model.gpt_neox.layers:
                norms = (block.input_layernorm, block.post_attention_layernorm)
                yield from ((norm, _layer_norm(norm)) for norm in norms)
                yield block.mlp, _two_layers(block.mlp, "dense_h_to_4h", "dense_4h_to_h")
        case "llama":
            yield model.model.norm, _rms_norm(model.model.norm)
            for block in model.model.layers:
                norms = (block.input_layernorm, block.post_attention_layernorm)
                yield from ((norm, _rms_norm(norm)) for norm in norms)
                yield block.mlp, _gated(block.mlp)
        case "gemma2" | "gemma3_text":
            yield model.model.norm, _gemma_norm(model.model.norm)
            for block in model.model.layers:
                own = [child for name, child in block.named_children() if name.endswith("layernorm")]
                queries = [
                    child for name, child in block.self_attn.named_children() if name.endswith("_norm")
                ]
                yield from ((norm, _gemma_norm(norm)) for norm in (*own, *queries))
                yield block.mlp, _gated(block.mlp)


@contextmanager
def relevance_rules(model: Any) -> Iterator[None]:
    """Run a model with RelP's rules: the same values, other gradients."""
    changed = list(_forwards(model))
    assert changed, "this family's rules are not written out"
    for module, forward in changed:
        module.forward = forward
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward
