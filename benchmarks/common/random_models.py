"""Models of a shape with random weights, made on a device and handed to the engine without a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig, PreTrainedConfig

from benchmarks.common import shapes
from patchgrid.engine import Engine

#: Shape to its configuration and the number type it is measured in.
SHAPES: dict[str, tuple[PreTrainedConfig, str]] = {
    "tiny": (GPT2Config(**shapes.SHAPES["tiny"]), "float32"),
    "gpt2-small": (GPT2Config(**shapes.SHAPES["gpt2-small"]), "float32"),
    "llama-8b": (
        LlamaConfig(
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            vocab_size=128256,
            max_position_embeddings=8192,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
            bos_token_id=None,
            eos_token_id=None,
        ),
        "bfloat16",
    ),
}


def make(shape: str, dtype: str, device: str) -> Any:
    """Make a model with seeded random weights on a device."""
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(SHAPES[shape][0], dtype=getattr(torch, dtype)).eval()


def load(model: Any, tokenizer: Path, folder: Path, device: str, dtype: str, *, save: bool) -> Engine:
    """Load an engine from a folder that has all but the weights, and those too if they are to be saved."""
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    if save:
        model.save_pretrained(folder)
        return Engine.load(str(folder), device=device, dtype=dtype)
    model.config.save_pretrained(folder)
    save_file({}, folder / "model.safetensors")
    with _handed_out(model):
        return Engine.load(str(folder), device=device, dtype=dtype)


@contextmanager
def _handed_out(model: Any) -> Iterator[None]:
    """Have transformers give this model to whoever loads one, for the time of a `with` block."""

    def give(*_: object, output_loading_info: bool = False, **_options: object) -> Any:
        return (model, {"missing_keys": set()}) if output_loading_info else model

    with patch.object(AutoModelForCausalLM, "from_pretrained", give):
        yield
