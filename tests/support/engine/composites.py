"""Tiny random models of several parts: a text decoder beside a tower for pictures or sound."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForMultimodalLM

from support.engine.cases import Case, tokenize
from support.engine.models import TestModel
from support.engine.prompts import PAIRS
from support.engine.shapes import BASE
from support.engine.vocabulary import build_tokenizer

_TEXT = BASE | {"num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 3}
_ROPE = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [1, 1, 2]}
_TEXT |= {"rope_parameters": _ROPE}
_TOWER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_TOWER |= {"image_size": 28, "patch_size": 14, "embed_dim": 16, "depth": 1, "num_heads": 2, "d_model": 16}
_TOWER |= {"out_hidden_size": 32, "encoder_layers": 1, "encoder_ffn_dim": 16, "encoder_attention_heads": 2}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12, "moe_num_experts": 4}
#: Model type to what its text decoder's configuration adds.
COMPOSITES: dict[str, dict[str, Any]] = {
    "aria": _EXPERTS | {"moe_topk": 2, "moe_num_shared_experts": 1},
    "aya_vision": {},
    "blip-2": {"ffn_dim": 48},
    "fuyu": {},
    "gemma3": {"sliding_window": 4},
    "glm4v": {"rope_parameters": _ROPE | {"partial_rotary_factor": 0.5, "mrope_section": [1, 1, 0]}},
    "got_ocr2": {},
    "idefics3": {},
    "internvl": {},
    "llama4": {"num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 24},
    "llava": {},
    "llava_onevision": {},
    "mistral3": {},
    # Block 1 of 4 attends to pictures alone.
    "mllama": {"num_hidden_layers": 4, "cross_attention_layers": [1]},
    "paligemma": {},
    "qwen2_5_vl": {},
    "qwen2_audio": {},
    "qwen2_vl": {},
    "qwen3_vl": {},
    "qwen3_vl_moe": _EXPERTS,
    "smolvlm": {},
    "voxtral": {},
}


class TextView:
    """A whole model seen by the reference as its text decoder: the configuration and the paths of that."""

    def __init__(self, whole: Any) -> None:
        self.whole = whole
        self.config = whole.config.get_text_config()

    def __call__(self, **inputs: Any) -> Any:
        """Run the whole model."""
        return self.whole(**inputs)

    def get_submodule(self, path: str) -> Any:
        """Find the decoder's modules by their names in a model of its own; of its blocks those for text."""
        decoder = self.whole.get_decoder()
        found = getattr(decoder, "model", decoder).get_submodule(path.removeprefix("model."))
        if isinstance(found, torch.nn.ModuleList):
            return [block for block in found if not hasattr(block, "cross_attn")]
        return found


def composite_model(model_type: str, seed: int = 0) -> Any:
    """Make a model of a type by transformers' own code, with seeded random weights."""
    plain = AutoConfig.for_model(model_type)
    text = plain.get_text_config()
    parts = {}
    for name, part in vars(plain).items():
        if part is text:
            parts[name] = _TEXT | COMPOSITES[model_type] | {"model_type": text.model_type}
        elif hasattr(part, "model_type"):
            known = {key: value for key, value in _TOWER.items() if hasattr(part, key)}
            parts[name] = known | {"model_type": part.model_type}
    config = AutoConfig.for_model(model_type, **parts)
    torch.manual_seed(seed)
    return AutoModelForMultimodalLM.from_config(config, dtype=torch.float32).eval()


def save_composite(model_type: str, folder: Path) -> Any:
    """Save such a model and its tokenizer; give the model."""
    model = composite_model(model_type)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return model


def composite_case(model_type: str, folder: Path) -> Case:
    """Return a saved model with its engine and the reference's view of its text decoder."""
    made = TestModel(model_type, folder, _text_of(save_composite(model_type, folder)), build_tokenizer())
    return Case(made, PAIRS, [tokenize(made, pair) for pair in PAIRS])


def _text_of(model: Any) -> Any:
    """Return the module that runs text: BLIP-2's needs a picture; PaliGemma attends both ways in prompts."""
    if model.config.model_type == "blip-2":
        return model.language_model
    text = model.config.get_text_config()
    if getattr(text, "use_bidirectional_attention", None):
        text.use_bidirectional_attention = False
        causal = AutoModelForMultimodalLM.from_config(model.config, dtype=torch.float32).eval()
        causal.load_state_dict(model.state_dict())
        return TextView(causal)
    return TextView(model)
