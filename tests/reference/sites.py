"""Where each family's activations are, read off transformers' modelling files."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
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
    #: Its output is what the MLP adds to the residual stream; None: what the block adds to `resid_mid`.
    mlp_out: str | None
    #: The attention's output projection, whose input is the heads side by side.
    projection: str
    #: Its input is the residual stream between attention and MLP; None where they run in parallel.
    after_attention: str | None
    #: The configuration's own factor, by which both are multiplied before they are added.
    factor: str | None = None


_LLAMA = Places(
    "model.layers",
    "self_attn.o_proj",
    "mlp.down_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
)
#: The experts' sum is what the module of the mixture gives.
_MIXTURE = replace(_LLAMA, mlp_out="mlp")
_POST_NORM = ("post_attention_layernorm", "post_feedforward_layernorm", "self_attn.o_proj")
_GEMMA = Places("model.layers", *_POST_NORM, "pre_feedforward_layernorm")
_OLMO2 = Places("model.layers", *_POST_NORM, "mlp")
_COHERE = replace(_LLAMA, after_attention=None)
_NEOX = ("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h", "attention.dense")
_OPT = Places("model.decoder.layers", "self_attn.out_proj", "fc2", "self_attn.out_proj", "final_layer_norm")
_GPT2 = Places("transformer.h", "attn.c_proj", "mlp.c_proj", "attn.c_proj", "ln_2")
_GPTJ = Places("transformer.h", "attn.out_proj", "mlp.fc_out", "attn.out_proj", None)
_GLM4 = Places(
    *("model.layers", "post_self_attn_layernorm", "post_mlp_layernorm", "self_attn.o_proj"),
    "post_attention_layernorm",
)
_GRANITE = replace(_LLAMA, factor="residual_multiplier")
_FALCON = (*("transformer.h", "self_attention.dense", "mlp.dense_4h_to_h", "self_attention.dense"),)
_NORMS_AFTER = {"attn_out": "post_attention_layernorm", "mlp_out": "post_mlp_layernorm"}

_PLACES = {
    "afmoe": replace(_LLAMA, **_NORMS_AFTER, after_attention="pre_mlp_layernorm"),
    "apertus": replace(_LLAMA, after_attention="feedforward_layernorm"),
    "aria_text": _MIXTURE,
    "biogpt": replace(_OPT, blocks="biogpt.layers"),
    "bitnet": replace(_LLAMA, projection="self_attn.attn_sub_norm"),
    "bloom": Places(*_FALCON, "post_attention_layernorm"),
    "codegen": _GPTJ,
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "ctrl": Places(
        "transformer.h", "multi_head_attention.dense", "ffn.2", "multi_head_attention.dense", "layernorm2"
    ),
    "dbrx": Places(
        *("transformer.blocks", "norm_attn_norm.attn.out_proj", "ffn", "norm_attn_norm.attn.out_proj"),
        "norm_attn_norm.norm_2",
    ),
    "deepseek_v2": _MIXTURE,
    "deepseek_v3": _MIXTURE,
    "ernie4_5_moe": _MIXTURE,
    "exaone4": _OLMO2,
    "exaone_moe": _MIXTURE,
    "falcon_parallel": Places(*_FALCON, None),
    "falcon": Places(*_FALCON, "post_attention_layernorm"),
    "flex_olmo": _OLMO2,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "glm4": _GLM4,
    "glm4_moe": _MIXTURE,
    "glm4v_text": _GLM4,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": Places(
        "transformer.h", "attn.attention.out_proj", "mlp.c_proj", "attn.attention.out_proj", "ln_2"
    ),
    "gpt_neox": Places(*_NEOX, "post_attention_layernorm"),
    "gpt_neox_parallel": Places(*_NEOX, None),
    "gpt_oss": _MIXTURE,
    "gptj": _GPTJ,
    "granite": _GRANITE,
    "granite_swa": _GRANITE,
    "granitemoe": replace(_GRANITE, mlp_out="block_sparse_moe"),
    "granitemoeshared": replace(_GRANITE, mlp_out=None),
    "hunyuan_v1_moe": _MIXTURE,
    "hyperclovax": replace(_GRANITE, attn_out="post_norm1", mlp_out="post_norm2"),
    "llama4_text": replace(_LLAMA, mlp_out="feed_forward"),
    "minicpm3": replace(_LLAMA, factor="scale_depth / sqrt(num_hidden_layers)"),
    "minimax_m2": _MIXTURE,
    "mixtral": _MIXTURE,
    "modernbert-decoder": Places("model.layers", "attn.Wo", "mlp.Wo", "attn.Wo", "mlp_norm"),
    "mpt": Places("transformer.blocks", "attn.out_proj", "ffn.down_proj", "attn.out_proj", "norm_2"),
    "nanochat": replace(_LLAMA, mlp_out="mlp.fc2"),
    "nemotron": _LLAMA,
    "olmo2": _OLMO2,
    "olmo3": _OLMO2,
    "olmoe": _MIXTURE,
    "opt": _OPT,
    "persimmon": Places(
        *("model.layers", "self_attn.dense", "mlp.dense_4h_to_h", "self_attn.dense"),
        "post_attention_layernorm",
    ),
    "phi": Places("model.layers", "self_attn.dense", "mlp.fc2", "self_attn.dense", None),
    "phimoe": _MIXTURE,
    "qwen2_moe": _MIXTURE,
    "qwen3_moe": _MIXTURE,
    "qwen3_vl_moe_text": _MIXTURE,
    "stablelm_parallel": _COHERE,
    "starcoder2": replace(_LLAMA, mlp_out="mlp.c_proj"),
    "vaultgemma": replace(_LLAMA, after_attention="pre_feedforward_layernorm"),
    "xglm": replace(_OPT, blocks="model.layers"),
    **dict.fromkeys(
        (
            *("arcee", "cwm", "ernie4_5", "gemma", "glm", "helium", "hunyuan_v1_dense", "jais2", "llama"),
            *("ministral", "ministral3", "mistral", "olmo", "phi3", "qwen2", "qwen3"),
            *("mllama_text_model", "qwen2_5_vl_text", "qwen2_vl_text", "qwen3_vl_text"),
            *("seed_oss", "smollm3", "stablelm", "youtu"),
        ),
        _LLAMA,
    ),
}
#: What makes attention and MLP of a family read the same input.
_SWITCHES = {
    "falcon": "parallel_attn",
    "gpt_neox": "use_parallel_residual",
    "stablelm": "use_parallel_residual",
}


def places(model: Any) -> Places:
    """Find the family's places from the model's configuration."""
    config = model.config
    parallel = getattr(config, _SWITCHES.get(config.model_type, ""), False)
    return _PLACES[f"{config.model_type}_parallel" if parallel else config.model_type]


def factor(model: Any) -> float:
    """What attention and MLP give is multiplied by this before it is added."""
    config, name = model.config, places(model).factor
    if name is None:
        return 1.0
    if "sqrt" in name:
        return float(config.scale_depth / config.num_hidden_layers**0.5)
    return float(getattr(config, name))


#: The projection that neurons go through, where it is not the one of Llama's MLP.
_DOWN = {
    "biogpt": "fc2",
    "bloom": "mlp.dense_4h_to_h",
    "codegen": "mlp.fc_out",
    "falcon": "mlp.dense_4h_to_h",
    "gpt2": "mlp.c_proj",
    "gpt_bigcode": "mlp.c_proj",
    "gpt_neo": "mlp.c_proj",
    "gpt_neox": "mlp.dense_4h_to_h",
    "gptj": "mlp.fc_out",
    "modernbert-decoder": "mlp.Wo",
    "mpt": "ffn.down_proj",
    "nanochat": "mlp.fc2",
    "opt": "fc2",
    "persimmon": "mlp.dense_4h_to_h",
    "phi": "mlp.fc2",
    "starcoder2": "mlp.c_proj",
    "xglm": "fc2",
}
#: Families whose attention calls no function of transformers' table.
_NO_TABLE = ("bloom", "codegen", "falcon", "gpt_neo", "gptj", "mpt", "xglm")


def sites(model: Any) -> tuple[str, ...]:
    """Name the sites that this model has."""
    absent = set()
    if places(model).after_attention is None:
        absent.add("resid_mid")
    if model.config.model_type in _NO_TABLE:
        absent |= {"q", "k", "v"}
    if not all(_has(block, _down(model)) for block in model.get_submodule(places(model).blocks)):
        absent.add("mlp_post")
    known = ("resid_pre", "q", "k", "v", "z", "attn_out", "resid_mid", "mlp_post", "mlp_out", "resid_post")
    return tuple(site for site in known if site not in absent)


def _down(model: Any) -> str:
    return _DOWN.get(model.config.model_type, "mlp.down_proj")


def _has(block: Any, path: str) -> bool:
    try:
        return block.get_submodule(path) is not None
    except AttributeError:
        return False


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


@contextmanager
def visiting(model: Any, visitor: Visitor, only: int | None = None) -> Iterator[None]:
    """Show `visitor` every site's tensor, or one layer's, as a forward pass reaches it.

    The tensor is the one that all later computation reads, so writing into it is patching it, and its
    gradient is the whole gradient. `by_position` gives it its axes.
    """
    where, own = places(model), sites(model)
    hooks = _Hooks(visitor, factor(model))
    for layer, block in enumerate(model.get_submodule(where.blocks)):
        if only not in (None, layer):
            continue
        hooks.on_input(block, "", "resid_pre", layer)
        hooks.on_input(block, where.projection, "z", layer)
        hooks.on_output(block, where.attn_out, "attn_out", layer)
        if where.after_attention is not None:
            hooks.on_input(block, where.after_attention, "resid_mid", layer)
        if "mlp_post" in own:
            hooks.on_input(block, _down(model), "mlp_post", layer)
        if where.mlp_out is None:
            hooks.on_rest(block, layer)
        else:
            # A mixture's first blocks may be dense.
            mlp = where.mlp_out if _has(block, where.mlp_out) else "mlp.down_proj"
            hooks.on_output(block, mlp, "mlp_out", layer)
        hooks.on_output(block, "", "resid_post", layer)
    try:
        with _visiting_attention(model, visitor, only) if "q" in own else nullcontext():
            yield
    finally:
        for handle in hooks.handles:
            handle.remove()


class _Hooks:
    """Hooks that show a visitor what modules take and give."""

    def __init__(self, visitor: Visitor, scale: float) -> None:
        self.handles: list[Any] = []
        self._visitor, self._scale = visitor, scale
        #: The last block's stream between attention and MLP.
        self._middle: list[Tensor] = []

    def on_input(self, block: Any, path: str, site: str, layer: int) -> None:
        def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            taken = args[0] if args else kwargs["hidden_states"]
            self._visitor(site, layer, taken)
            if site == "resid_mid":
                self._middle = [taken]

        self.handles.append(block.get_submodule(path).register_forward_pre_hook(hook, with_kwargs=True))

    def on_output(self, block: Any, path: str, site: str, layer: int) -> None:
        scale = 1.0 if site == "resid_post" else self._scale

        def hook(_module: Any, _args: Any, output: Any) -> Any:
            added = _first(output) if scale == 1 else _first(output) * scale
            self._visitor(site, layer, added)
            if site == "resid_post":
                return None
            # Falcon writes into what its MLP gave: that must not reach what was seen.
            given = added.clone() if scale == 1 else added / scale
            return (given, *output[1:]) if isinstance(output, tuple) else given

        self.handles.append(block.get_submodule(path).register_forward_hook(hook))

    def on_rest(self, block: Any, layer: int) -> None:
        """Show what a block adds to its `resid_mid`."""

        def hook(_module: Any, _args: Any, output: Any) -> Any:
            [middle] = self._middle
            added = _first(output) - middle
            self._visitor("mlp_out", layer, added)
            return middle + added

        self.handles.append(block.register_forward_hook(hook))


@contextmanager
def _visiting_attention(model: Any, visitor: Visitor, only: int | None) -> Iterator[None]:
    """Show `visitor` what each attention function is called with: it is exchanged for one that tells."""
    blocks = list(model.get_submodule(places(model).blocks))
    layers = {id(module): layer for layer, block in enumerate(blocks) for module in block.modules()}
    own = sys.modules[type(blocks[0]).__module__]

    def telling(function: Any) -> Any:
        def attention(
            module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
        ) -> Any:
            layer = layers.get(id(module))
            if layer is not None and only in (None, layer):
                for site, tensor in (("q", query), ("k", key), ("v", value)):
                    visitor(site, layer, tensor)
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
    return by_prompt(site, tensor, heads, 1)[0]


def by_prompt(site: str, tensor: Tensor, heads: int, prompts: int) -> Tensor:
    """View the activation of so many prompts of one length as `by_position` does each: `[prompt, …]`."""
    if site in ("q", "k", "v"):
        assert len(tensor) == prompts, "a tensor of another number of prompts"
        return tensor.transpose(1, 2)
    # A mixture's tokens may stand in one row.
    rows = tensor.unflatten(0, (prompts, -1)) if tensor.ndim == 2 else tensor
    assert rows.shape[:-2] == (prompts,), "a tensor of another number of prompts"
    return rows.unflatten(-1, (heads, -1)) if site == "z" else rows


def last_logits(model: Any, prompts: Sequence[Sequence[int]]) -> Tensor:
    """Run prompts of one length and give their last position's logits `[prompt, vocabulary]`."""
    logits: Tensor = model(input_ids=torch.tensor(prompts), use_cache=False).logits
    return logits[:, -1]
