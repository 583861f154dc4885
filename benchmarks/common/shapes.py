"""Models and pairs to measure with: a GPT-2-small shape with seeded random weights, or a given folder."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from patchgrid.engine import Pair
from patchgrid.pairs import PairFile

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo_model"
PAIRS = ROOT / "examples" / "pairs" / "ioi.jsonl"

SHAPES = {
    "gpt2-small": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "tiny": {"n_layer": 3, "n_head": 4, "n_embd": 64},
}
#: Words that may begin a prompt in place of its own first word, beside those of the file's other prompts.
_OPENINGS = ("When", "Then", "After", "While", "The", "In")


def save_model(shape: str, tokenizer: Path, folder: str, seed: int = 0) -> str:
    """Save a GPT-2 of a shape with seeded random weights to a folder; give the folder."""
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    GPT2LMHeadModel(GPT2Config(**SHAPES[shape])).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def read_pairs(path: Path, count: int, tokenizer: Any) -> list[Pair]:
    """Read the first pairs of a file whose two prompts are as many tokens."""
    with PairFile.open(path) as file:
        file.check()
        pairs = list(islice((pair for pair in file if _even(pair, tokenizer)), count))
    if not pairs:
        raise SystemExit(f"{path} has no pair whose two prompts are as many of the tokenizer's tokens")
    return pairs


def without_shared_prefix(pairs: Sequence[Pair], tokenizer: Any) -> list[Pair]:
    """Begin each corrupted prompt with another word than the clean one, the other tokens left as they are."""
    openings = [*dict.fromkeys(pair.clean.split()[0] for pair in pairs), *_OPENINGS]
    return [_apart(pair, openings, tokenizer) for pair in pairs]


def _even(pair: Pair, tokenizer: Any) -> bool:
    return len(tokenizer(pair.clean).input_ids) == len(tokenizer(pair.corrupted).input_ids)


def _apart(pair: Pair, openings: Sequence[str], tokenizer: Any) -> Pair:
    """Take the first opening that changes the first token and no other."""
    clean, corrupted = (tokenizer(text).input_ids for text in (pair.clean, pair.corrupted))
    first = int(clean[0] == tokenizer.bos_token_id)  # a BOS stays
    for prompt in _reopened(pair.corrupted, openings):
        ids = tokenizer(prompt).input_ids
        others_stay = ids[:first] + ids[first + 1 :] == corrupted[:first] + corrupted[first + 1 :]
        if others_stay and ids[first] not in (clean[first], tokenizer.unk_token_id):
            return replace(pair, corrupted=prompt)
    raise SystemExit(f"no other first word found that leaves the rest as it is: {pair.corrupted!r}")


def _reopened(prompt: str, openings: Sequence[str]) -> Iterator[str]:
    """Put each opening in place of the first word, with and without the comma that the first word has."""
    word, _, rest = prompt.partition(" ")
    comma = word[len(word.rstrip(",")) :]
    for opening in openings:
        yield f"{opening.rstrip(',')}{comma} {rest}"
