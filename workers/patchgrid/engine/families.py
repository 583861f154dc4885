"""Where each family of models keeps the parts of its blocks: data, never branches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from patchgrid.engine.errors import ModelError


@dataclass(frozen=True, slots=True)
class Family:
    """Module paths of one family, as written in transformers' modelling code."""

    #: The list of blocks, from the model's root.
    layers: str
    #: The attention output projection, from a block; its input is `z`.
    projection: str
    #: The module whose output attention adds to the residual stream.
    attn_out: str
    #: The module whose output the MLP adds to the residual stream.
    mlp_out: str
    #: The module whose input, `[pair, position, width]`, is all that the MLP reads; None: there is none.
    mlp: str | None = "mlp"
    #: Attention and MLP both read the block's input: there is no `resid_mid`.
    #: A text names the configuration's own switch.
    parallel: bool | str = False

    @property
    def attention(self) -> str:
        """The attention module, from a block: the output projection is one of its own."""
        return self.projection.rpartition(".")[0]


_LLAMA = Family(layers="model.layers", projection="self_attn.o_proj", attn_out="self_attn", mlp_out="mlp")
_GEMMA = replace(_LLAMA, attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")

#: Family record by the configuration's `model_type`.
FAMILIES: Mapping[str, Family] = {
    "gpt2": Family(layers="transformer.h", projection="attn.c_proj", attn_out="attn", mlp_out="mlp"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "phi3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gemma3": replace(_GEMMA, layers="model.language_model.layers"),
    "olmo2": _GEMMA,
    "gpt_neox": Family(
        layers="gpt_neox.layers",
        projection="attention.dense",
        attn_out="attention",
        mlp_out="mlp",
        parallel="use_parallel_residual",
    ),
    "phi": replace(_LLAMA, projection="self_attn.dense", parallel=True),
    "opt": Family(
        layers="model.decoder.layers",
        projection="self_attn.out_proj",
        attn_out="self_attn",
        mlp_out="fc2",
        mlp=None,
    ),
}


def find_family(model: Any) -> Family:
    """Return the record that fits a Hugging Face model.

    A model type without a record of its own may be laid out like a known one: the first record whose
    modules are all there is tried, and the self-check decides.

    Raises
    ------
    ModelError
        No record fits; the message names what was not found.
    """
    model_type = model.config.model_type
    known = FAMILIES.get(model_type)
    if known is not None:
        missing = missing_part(model, known)
        if missing is None:
            return known
        raise ModelError(f"this {model_type} model has no {missing}: its code differs from the one known")
    for family in dict.fromkeys(FAMILIES.values()):
        if missing_part(model, family) is None:
            return family
    tried = ", ".join(dict.fromkeys(missing_part(model, family) or "" for family in FAMILIES.values()))
    raise ModelError(
        f"model type {model_type!r} is not known, and none of the layouts fits: not found {tried}. "
        f"Known types: {', '.join(sorted(FAMILIES))}"
    )


def missing_part(model: Any, family: Family) -> str | None:
    """Name the first module of a family's record that a model lacks, or None."""
    try:
        layers = model.get_submodule(family.layers)
    except AttributeError:
        return family.layers
    if not len(layers):
        return f"{family.layers}[0]"
    for path in filter(None, (family.projection, family.attn_out, family.mlp_out, family.mlp)):
        try:
            layers[0].get_submodule(path)
        except AttributeError:
            return f"{family.layers}[0].{path}"
    return None
