"""Where each model family keeps the parts of its blocks: data, never branches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """Module paths of one family, as written in transformers' modelling code."""

    #: The list of blocks, from the model's root.
    layers: str
    #: What attention's heads enter side by side, from a block: its input is `z`. The output projection, as a
    #: rule.
    projection: str
    #: The module whose output attention adds to the residual stream.
    attn_out: str
    #: The module whose output the MLP adds to the residual stream; several, whose sum it adds, with `+`.
    mlp_out: str
    #: The one module whose input, `[pair, position, width]`, is all that the MLP reads; None: there is none.
    mlp: str | None = "mlp"
    #: Attention and MLP both read the block's input: there is no `resid_mid`.
    #: A text names the configuration's own switch.
    parallel: bool | str = False
    #: The modules that lead from `z` to `attn_out`; none: the projection and, where it is not attention's
    #: own output, the module of `attn_out`.
    leading: tuple[str, ...] = ()
    #: How many values a block gives, the stream first; 1: the stream itself, not a tuple.
    outputs: int = 1
    #: The block's attribute that multiplies what attention and MLP give before it is added; None: nothing.
    scale: str | None = None
    #: The block writes into what its MLP gave.
    overwrites: bool = False

    @property
    def attention(self) -> str:
        """The attention module, from a block: the output projection is one of its own."""
        return self.projection.rpartition(".")[0]

    @property
    def mlp_parts(self) -> tuple[str, ...]:
        """The modules whose outputs, summed, are what the MLP adds."""
        return tuple(part.strip() for part in self.mlp_out.split("+"))

    @property
    def adds_own_output(self) -> bool:
        """Whether attention's output is what is added, or enters what is: it can be put in its place."""
        return not self.attn_out.startswith(f"{self.attention}.")

    @property
    def leads(self) -> tuple[str, ...]:
        """The modules that lead from `z` to `attn_out`."""
        if self.leading:
            return self.leading
        own = self.attn_out in (self.attention, self.projection)
        return (self.projection,) if own else (self.projection, self.attn_out)


_LLAMA = Family(layers="model.layers", projection="self_attn.o_proj", attn_out="self_attn", mlp_out="mlp")
_DENSE = replace(_LLAMA, projection="self_attn.dense")
_GEMMA = replace(_LLAMA, attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")
_GLM4 = replace(_LLAMA, attn_out="post_self_attn_layernorm", mlp_out="post_mlp_layernorm")
_COHERE = replace(_LLAMA, parallel=True)
_GRANITE = replace(_LLAMA, scale="residual_multiplier")
_GRANITE_MOE = replace(_GRANITE, mlp_out="block_sparse_moe", mlp="block_sparse_moe")
_GPT2 = Family(layers="transformer.h", projection="attn.c_proj", attn_out="attn", mlp_out="mlp")
_GPTJ = replace(_GPT2, projection="attn.out_proj", parallel=True, outputs=2)
_XGLM = Family(
    layers="model.layers", projection="self_attn.out_proj", attn_out="self_attn", mlp_out="fc2", mlp="fc1"
)
_BLOOM = Family(
    layers="transformer.h",
    projection="self_attention.dense",
    attn_out="self_attention.dense",
    mlp_out="mlp.dense_4h_to_h",
    outputs=2,
)

#: Family record by the configuration's `model_type`.
FAMILIES: Mapping[str, Family] = {
    "afmoe": replace(_LLAMA, attn_out="post_attention_layernorm", mlp_out="post_mlp_layernorm"),
    "apertus": _LLAMA,
    "arcee": _LLAMA,
    "aria_text": _LLAMA,
    "biogpt": replace(_XGLM, layers="biogpt.layers"),
    "bitnet": replace(
        _LLAMA,
        projection="self_attn.attn_sub_norm",
        leading=("self_attn.attn_sub_norm", "self_attn.o_proj"),
    ),
    "bloom": _BLOOM,
    "codegen": _GPTJ,
    "cohere": _COHERE,
    "cohere2": _COHERE,
    "ctrl": Family(
        layers="transformer.h",
        projection="multi_head_attention.dense",
        attn_out="multi_head_attention",
        mlp_out="ffn",
        mlp="ffn",
    ),
    "cwm": _LLAMA,
    "dbrx": Family(
        layers="transformer.blocks",
        projection="norm_attn_norm.attn.out_proj",
        attn_out="norm_attn_norm.attn",
        mlp_out="ffn",
        mlp="ffn",
    ),
    "deepseek_v2": _LLAMA,
    "deepseek_v3": _LLAMA,
    "ernie4_5": _LLAMA,
    "ernie4_5_moe": _LLAMA,
    "exaone4": _GEMMA,
    "exaone_moe": _LLAMA,
    # Only a block whose attention and MLP are parallel writes into the MLP's output.
    "falcon": replace(
        _BLOOM,
        attn_out="self_attention",
        mlp_out="mlp",
        parallel="parallel_attn",
        overwrites=True,
    ),
    "flex_olmo": _GEMMA,
    "gemma": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "glm": _LLAMA,
    "glm4": _GLM4,
    "glm4_moe": _LLAMA,
    "glm4v_text": _GLM4,
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": replace(_GPT2, projection="attn.attention.out_proj", attn_out="attn.attention", outputs=2),
    "gpt_neox": Family(
        layers="gpt_neox.layers",
        projection="attention.dense",
        attn_out="attention",
        mlp_out="mlp",
        parallel="use_parallel_residual",
    ),
    "gpt_oss": _LLAMA,
    "gptj": _GPTJ,
    "granite": _GRANITE,
    "granite_swa": _GRANITE,
    "granitemoe": _GRANITE_MOE,
    "granitemoeshared": replace(_GRANITE_MOE, mlp_out="block_sparse_moe + shared_mlp", mlp=None),
    "helium": _LLAMA,
    "hunyuan_v1_dense": _LLAMA,
    "hunyuan_v1_moe": _LLAMA,
    "hyperclovax": replace(_GRANITE, attn_out="post_norm1", mlp_out="post_norm2"),
    "jais2": _LLAMA,
    "llama": _LLAMA,
    "llama4_text": replace(_LLAMA, mlp_out="feed_forward", mlp="feed_forward"),
    "minicpm3": replace(_LLAMA, scale="residual_scale"),
    "minimax_m2": _LLAMA,
    "ministral": _LLAMA,
    "ministral3": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "mllama_text_model": _LLAMA,
    "modernbert-decoder": replace(_LLAMA, projection="attn.Wo", attn_out="attn"),
    "mpt": Family(
        layers="transformer.blocks",
        projection="attn.out_proj",
        attn_out="attn",
        mlp_out="ffn.down_proj",
        mlp="ffn",
        outputs=2,
    ),
    "nanochat": _LLAMA,
    "nemotron": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _GEMMA,
    "olmo3": _GEMMA,
    "olmoe": _LLAMA,
    "opt": replace(_XGLM, layers="model.decoder.layers", mlp=None),
    "persimmon": _DENSE,
    "phi": replace(_DENSE, parallel=True),
    "phi3": _LLAMA,
    "phimoe": _LLAMA,
    "qwen2": _LLAMA,
    "qwen2_5_vl_text": _LLAMA,
    "qwen2_moe": _LLAMA,
    "qwen2_vl_text": _LLAMA,
    "qwen3": _LLAMA,
    "qwen3_moe": _LLAMA,
    "qwen3_vl_moe_text": _LLAMA,
    "qwen3_vl_text": _LLAMA,
    "seed_oss": _LLAMA,
    "smollm3": _LLAMA,
    "stablelm": replace(_LLAMA, parallel="use_parallel_residual"),
    "starcoder2": _LLAMA,
    "vaultgemma": _LLAMA,
    "xglm": _XGLM,
    "youtu": _LLAMA,
}


def missing_part(model: Any, family: Family) -> str | None:
    """Name the first module of a family's record that a model lacks, or None."""
    try:
        layers = model.get_submodule(family.layers)
    except AttributeError:
        return family.layers
    if not len(layers):
        return f"{family.layers}[0]"
    # Shared experts, the second part of an MLP, are omitted by some configurations.
    paths = (family.projection, family.attn_out, family.mlp_parts[0], family.mlp, *family.leads)
    for path in filter(None, paths):
        if not has_part(layers[0], path):
            return f"{family.layers}[0].{path}"
    if family.scale is not None and not hasattr(layers[0], family.scale):
        return f"{family.layers}[0].{family.scale}"
    return None


def has_part(block: Any, path: str) -> bool:
    """Return whether a block has a module at a path."""
    try:
        block.get_submodule(path)
    except AttributeError:
        return False
    return True
