"""Tiny random models of every family, saved to a folder the way a user's model lies on disk."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from support.vocabulary import BOS, EOS, PAD, VOCABULARY, build_tokenizer

#: The longest prompt any tiny model takes.
CONTEXT = 24
#: Sliding window of the families that have one, smaller than most test prompts.
WINDOW = 4
#: The trained model that comes with the repository.
DEMO_MODEL = Path(__file__).parents[2] / "examples" / "demo_model"
LAYERS, HEADS, HIDDEN = 3, 4, 32

_BASE: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.2,
    "attention_dropout": 0.2,
    "bos_token_id": VOCABULARY[BOS],
    "eos_token_id": VOCABULARY[EOS],
    "pad_token_id": VOCABULARY[PAD],
}
_GROUPED = {"num_key_value_heads": 2}
_WIDE_HEADS = {"head_dim": 12}
_LAYER_TYPES = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_SLIDING = {"sliding_window": WINDOW}
_SOFTCAPS = {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 10}
_OPT = {"ffn_dim": 48, "init_std": 0.2, "dropout": 0.2}
_LONG_ROPE = {
    "original_max_position_embeddings": 8,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 100.0,
        "short_factor": [1.0, 1.5, 2.0, 2.5],
        "long_factor": [3.0, 5.0, 7.0, 9.0],
    },
}

#: Family or variant to its model type and what its configuration adds to the base.
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {"n_inner": 48}),
    "llama": ("llama", _GROUPED | _WIDE_HEADS | {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", _GROUPED | _WIDE_HEADS | _SLIDING),
    "qwen2": ("qwen2", _GROUPED | _SLIDING | _LAYER_TYPES | {"use_sliding_window": True}),
    "qwen3": ("qwen3", _GROUPED | _WIDE_HEADS),
    "gemma2": ("gemma2", _GROUPED | _WIDE_HEADS | _SLIDING | _LAYER_TYPES | _SOFTCAPS),
    "gemma3": ("gemma3_text", _GROUPED | _WIDE_HEADS | _SLIDING | _LAYER_TYPES | _SOFTCAPS),
    "gpt_neox": ("gpt_neox", {"hidden_dropout": 0.2}),
    "gpt_neox_serial": ("gpt_neox", {"hidden_dropout": 0.2, "use_parallel_residual": False}),
    "phi": ("phi", _GROUPED | {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "qk_layernorm": True}),
    "phi3": ("phi3", _GROUPED | _SLIDING | {"resid_pdrop": 0.2}),
    "olmo2": ("olmo2", _GROUPED),
    "opt": ("opt", _OPT),
    "opt_projected": ("opt", _OPT | {"activation_function": "gelu", "word_embed_proj_dim": 20}),
    "opt_post_norm": ("opt", _OPT | {"do_layer_norm_before": False}),
    "phi3_longrope": ("phi3", _GROUPED | _LONG_ROPE),
}
#: Families whose residual stream never exists between attention and MLP.
PARALLEL = ("gpt_neox", "phi")
#: Every tiny model whose sites the engine must get right; the rest of the variants are special cases.
FAMILIES = tuple(name for name in _VARIANTS if name not in ("opt_post_norm", "phi3_longrope"))
#: Families whose tokenizer puts a BOS before each prompt by itself.
_WITH_BOS = ("llama", "mistral", "gemma2", "gemma3", "opt", "opt_projected")


@dataclass(frozen=True)
class TestModel:
    """A model as the reference uses it, and the folder from which the engine loads the same one."""

    __test__ = False

    #: Family or variant name.
    name: str
    #: Folder with configuration, safetensors weights and tokenizer.
    folder: Path
    #: The float32 model, in evaluation mode.
    model: Any
    #: Its tokenizer.
    tokenizer: Any

    def double(self) -> "TestModel":
        """Give the same model in float64."""
        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float64).eval()
        return TestModel(self.name, self.folder, model, self.tokenizer)


def random_model(name: str, seed: int = 0) -> Any:
    """Make one variant's model with seeded random weights, biases and norms included."""
    model_type, changes = _VARIANTS[name]
    config = AutoConfig.for_model(model_type, **(_BASE | changes))
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def save_model(
    name: str, root: Path, *, seed: int = 0, tokenizer: Callable[[bool], Any] = build_tokenizer
) -> TestModel:
    """Save a variant's random model and its tokenizer to a folder below `root`."""
    folder = root / name
    model = random_model(name, seed)
    model.save_pretrained(folder)
    made = tokenizer(name in _WITH_BOS)
    made.save_pretrained(folder)
    return TestModel(name, folder, model, made)


@cache
def demo_model() -> TestModel:
    """Load the repository's trained model for the reference."""
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL, dtype=torch.float32).eval()
    return TestModel("demo_model", DEMO_MODEL, model, AutoTokenizer.from_pretrained(DEMO_MODEL))
