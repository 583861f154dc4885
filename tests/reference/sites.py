"""Where each family's activations are, read off transformers' modelling files."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

#: What is done with a tensor: site, layer, and the activation itself, as the model has it.
Visitor = Callable[[str, int, Tensor], None]


@dataclass(frozen=True)
class Places:
    """Modules of one family, as paths below the model or below a block."""

    #: The list of blocks.
    blocks: str
    #: Its output is what attention adds to the residual stream.
    attn_out: str
    #: Its output is what the MLP adds to the residual stream.
    mlp_out: str
    #: The attention's output projection, whose input is the heads side by side.
    projection: str
    #: Its input is the residual stream between attention and MLP; None where they run in parallel.
    after_attention: str | None
    #: Its input is the neurons' activations.
    down: str


_LLAMA = Places(
    "model.layers",
    "self_attn.o_proj",
    "mlp.down_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.down_proj",
)
_POST_NORM = ("post_attention_layernorm", "post_feedforward_layernorm", "self_attn.o_proj")
_GEMMA = Places("model.layers", *_POST_NORM, "pre_feedforward_layernorm", "mlp.down_proj")
_NEOX = ("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h", "attention.dense")
_OPT = Places(
    "model.decoder.layers", "self_attn.out_proj", "fc2", "self_attn.out_proj", "final_layer_norm", "fc2"
)

_PLACES = {
    "gpt2": Places("transformer.h", "attn.c_proj", "mlp.c_proj", "attn.c_proj", "ln_2", "mlp.c_proj"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "olmo2": Places("model.layers", *_POST_NORM, "mlp", "mlp.down_proj"),
    "gpt_neox": Places(*_NEOX, None, "mlp.dense_4h_to_h"),
    "gpt_neox_serial": Places(*_NEOX, "post_attention_layernorm", "mlp.dense_4h_to_h"),
    "phi": Places("model.layers", "self_attn.dense", "mlp.fc2", "self_attn.dense", None, "mlp.fc2"),
    "opt": _OPT,
}


def places(model: Any) -> Places:
    """Find the family's places from the model's configuration."""
    serial = model.config.model_type == "gpt_neox" and not model.config.use_parallel_residual
    return _PLACES["gpt_neox_serial" if serial else model.config.model_type]


def sites(model: Any) -> tuple[str, ...]:
    """Name the sites that this model has."""
    known = ("resid_pre", "q", "k", "v", "z", "attn_out", "mlp_post", "mlp_out", "resid_post")
    return known if places(model).after_attention is None else (*known, "resid_mid")


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


@contextmanager
def visiting(model: Any, visitor: Visitor, only: int | None = None) -> Iterator[None]:
    """Show `visitor` every site's tensor, or one layer's, as a forward pass of one prompt reaches it.

    The tensor is the one that all later computation reads, so writing into it is patching it, and its
    gradient is the whole gradient. `by_position` gives it its axes.
    """
    where = places(model)
    handles: list[Any] = []

    def on_input(block: Any, path: str, site: str, layer: int) -> None:
        def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            visitor(site, layer, args[0] if args else kwargs["hidden_states"])

        handles.append(block.get_submodule(path).register_forward_pre_hook(hook, with_kwargs=True))

    def on_output(block: Any, path: str, site: str, layer: int) -> None:
        def hook(_module: Any, _args: Any, output: Any) -> None:
            visitor(site, layer, _first(output))

        handles.append(block.get_submodule(path).register_forward_hook(hook))

    for layer, block in enumerate(model.get_submodule(where.blocks)):
        if only not in (None, layer):
            continue
        on_input(block, "", "resid_pre", layer)
        on_input(block, where.projection, "z", layer)
        on_output(block, where.attn_out, "attn_out", layer)
        if where.after_attention is not None:
            on_input(block, where.after_attention, "resid_mid", layer)
        on_input(block, where.down, "mlp_post", layer)
        on_output(block, where.mlp_out, "mlp_out", layer)
        on_output(block, "", "resid_post", layer)
    try:
        with _visiting_attention(model, visitor, only):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _visiting_attention(model: Any, visitor: Visitor, only: int | None) -> Iterator[None]:
    """Show `visitor` what each attention function is called with: it is exchanged for one that tells."""
    own = sys.modules[type(model).__module__]

    def telling(function: Any) -> Any:
        def attention(
            module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
        ) -> Any:
            if only in (None, module.layer_idx):
                for site, tensor in (("q", query), ("k", key), ("v", value)):
                    visitor(site, module.layer_idx, tensor)
            return function(module, query, key, value, *args, **kwargs)

        return attention

    eager, table = own.eager_attention_forward, ALL_ATTENTION_FUNCTIONS._global_mapping
    sdpa = table["sdpa"]
    own.eager_attention_forward, table["sdpa"] = telling(eager), telling(sdpa)
    try:
        yield
    finally:
        own.eager_attention_forward, table["sdpa"] = eager, sdpa


def by_position(site: str, tensor: Tensor, heads: int) -> Tensor:
    """View one prompt's activation as `[position, dim]`, or `[position, head, dim]` for heads.

    Writing into what it gives writes into the activation.
    """
    if site in ("q", "k", "v"):
        assert len(tensor) == 1, "the reference takes one prompt at a time"
        return tensor[0].transpose(0, 1)
    length = tensor.shape[-2]
    assert tensor.numel() == length * tensor.shape[-1], "the reference takes one prompt at a time"
    return tensor.view(length, heads, -1) if site == "z" else tensor.view(length, -1)


def last_logits(model: Any, ids: list[int]) -> Tensor:
    """Run one prompt and give its last position's logits `[vocabulary]`."""
    logits: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    return logits[0, -1]
