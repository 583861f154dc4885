"""Measure how often the demo model is right on combinations that its training never saw."""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from examples.demo_model import tokenizer as demo_tokenizer  # noqa: E402
from examples.demo_model.prompts import IoiPrompt, YearPrompt, split  # noqa: E402

BATCH = 128


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How the model does on held-out combinations; shares are from 0 to 1."""

    #: Prompts measured of each behaviour.
    count: int
    #: Share where the indirect object beats the subject and every other token.
    ioi: float
    #: Mean of logit(indirect object) - logit(subject).
    ioi_logit_diff: float
    #: Share where the most likely token is a later year.
    greater_than: float
    #: Share where, besides, the later years hold at least nine tenths of the probability.
    greater_than_mass: float
    #: Mean probability of the later years less that of the others.
    greater_than_prob_diff: float


def last_logits(model: GPT2LMHeadModel, tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    """Return the logits after each text, [text, token], in float32."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    found = []
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            # Zeros to the right of a row change nothing before them in a causal model.
            width = max(map(len, batch))
            inputs = torch.tensor([row + [0] * (width - len(row)) for row in batch])
            last = torch.tensor([len(row) - 1 for row in batch])
            found.append(model(inputs).logits[torch.arange(len(batch)), last].float())
    return torch.cat(found)


def evaluate(model: GPT2LMHeadModel, tokenizer: Tokenizer, count: int, seed: int) -> Accuracy:
    """Measure the model on `count` held-out prompts of each behaviour."""
    rng = random.Random(seed)
    _, held_out = split()
    ioi = [held_out.ioi(rng) for _ in range(count)]
    years = [held_out.years(rng) for _ in range(count)]
    ioi_right, ioi_diff = _measure_ioi(model, tokenizer, ioi)
    later, mass = _measure_years(model, tokenizer, years)
    return Accuracy(
        count=count,
        ioi=ioi_right.float().mean().item(),
        ioi_logit_diff=ioi_diff.mean().item(),
        greater_than=later.float().mean().item(),
        greater_than_mass=(later & (mass >= 0.9)).float().mean().item(),
        greater_than_prob_diff=(2 * mass - 1).mean().item(),
    )


def _measure_ioi(
    model: GPT2LMHeadModel, tokenizer: Tokenizer, prompts: Sequence[IoiPrompt]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whether each prompt is right, and its logit difference."""
    token = tokenizer.token_to_id
    io = torch.tensor([token(f"Ġ{prompt.io}") for prompt in prompts])
    subject = torch.tensor([token(f"Ġ{prompt.subject}") for prompt in prompts])
    logits = last_logits(model, tokenizer, [prompt.text for prompt in prompts])
    rows = torch.arange(len(prompts))
    difference = logits[rows, io] - logits[rows, subject]
    return (logits.argmax(-1) == io) & (difference > 0), difference


def _measure_years(
    model: GPT2LMHeadModel, tokenizer: Tokenizer, prompts: Sequence[YearPrompt]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return whether the most likely token is a later year, and what probability later years get."""
    token = tokenizer.token_to_id
    years = torch.tensor([token(f"{year:02d}") for year in range(100)])
    logits = last_logits(model, tokenizer, [prompt.text for prompt in prompts])
    later = torch.arange(100) > torch.tensor([[prompt.year] for prompt in prompts])
    best = logits.argmax(-1, keepdim=True)
    right = ((best == years) & later).any(-1)
    return right, (logits.softmax(-1)[:, years] * later).sum(-1)


def main() -> None:
    """Print the accuracy as one line of JSON; exit 1 when a behaviour is right on less than 98 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=FOLDER, type=Path, help="model folder (default: this one)")
    parser.add_argument("--count", default=1000, type=int, help="prompts of each behaviour (default: 1000)")
    parser.add_argument("--seed", default=1, type=int, help="seed of the prompts (default: 1)")
    options = parser.parse_args()
    model = GPT2LMHeadModel.from_pretrained(options.model).eval()
    accuracy = evaluate(model, demo_tokenizer.load(options.model), options.count, options.seed)
    print(json.dumps({name: round(value, 4) for name, value in asdict(accuracy).items()}))
    sys.exit(0 if min(accuracy.ioi, accuracy.greater_than) >= 0.98 else 1)


if __name__ == "__main__":
    main()
