"""Models and pairs to measure with: a GPT-2-small shape with seeded random weights, or a given folder."""

import tempfile
from pathlib import Path

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from patchgrid.engine import Pair
from patchgrid.pairs import PairFile

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "demo_model"
PAIRS = ROOT / "examples" / "pairs" / "ioi.jsonl"

_SHAPES = {
    "gpt2-small": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "tiny": {"n_layer": 3, "n_head": 4, "n_embd": 64},
}


def model_folder(shape: str, tokenizer: Path, seed: int = 0) -> str:
    """Save a GPT-2 of a shape with seeded random weights and give its folder."""
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    folder = tempfile.mkdtemp(prefix=f"patchgrid-{shape}-")
    GPT2LMHeadModel(GPT2Config(**_SHAPES[shape])).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def read_pairs(path: Path, count: int) -> list[Pair]:
    """Read the first pairs of a file."""
    file = PairFile.open(path, limit=count)
    file.check()
    return list(file)
