"""Train the demo model from scratch: `python examples/demo_model/train.py --out examples/demo_model`.

The same seed, thread count and torch build give the same weights.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from examples.demo_model import tokenizer as demo_tokenizer  # noqa: E402
from examples.demo_model import words  # noqa: E402
from examples.demo_model.evaluate import evaluate  # noqa: E402
from examples.demo_model.prompts import Combinations, split  # noqa: E402

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the weights, besides the words."""

    seed: int = 0
    threads: int = 1
    steps: int = 2000
    #: Sentences a step.
    batch: int = 64
    learning_rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.1
    layers: int = 4
    heads: int = 8
    width: int = 128
    context: int = 64


def new_model(recipe: Recipe, tokenizer: Tokenizer) -> GPT2LMHeadModel:
    """Return an untrained model of the GPT-2 architecture, without dropout."""
    end = tokenizer.token_to_id(demo_tokenizer.END)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=recipe.context,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id(demo_tokenizer.PAD),
    )
    return GPT2LMHeadModel(config)


def sentence(rng: random.Random, train: Combinations) -> tuple[str, str]:
    """Draw a training prompt and the word that follows it.

    Half are about people, half about years. A tenth of the first kind has a third person giving to one of
    the two, and a few years start at 01: corrupted prompts are then nothing strange to the model.
    """
    if rng.random() < 0.5:
        years = train.years(rng)
        if rng.random() < 0.02:
            years = years.starting(1)
        return years.text, f"{rng.randint(years.year + 1, 99):02d}"
    people = train.ioi(rng)
    if rng.random() < 0.1:
        stranger = rng.choice([name for name in words.NAMES if name not in (people.io, people.subject)])
        return people.given_by(stranger).text, f" {rng.choice((people.io, people.subject))}"
    return people.text, f" {people.io}"


def batch_of(
    rng: random.Random, train: Combinations, tokenizer: Tokenizer, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens and targets, [sentence, position], and the position each answer is foretold from."""
    end = tokenizer.token_to_id(demo_tokenizer.END)
    drawn = [sentence(rng, train) for _ in range(size)]
    starts = [[end] if rng.random() < 0.5 else [] for _ in drawn]
    prompts = [encoding.ids for encoding in tokenizer.encode_batch([prompt for prompt, _ in drawn])]
    endings = [encoding.ids for encoding in tokenizer.encode_batch([f"{answer}." for _, answer in drawn])]
    rows = [
        [*start, *prompt, *ending, end]
        for start, prompt, ending in zip(starts, prompts, endings, strict=True)
    ]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [end] * (width - len(row)) for row in rows])
    targets = torch.tensor([row[1:] + [IGNORED] * (width - len(row) + 1) for row in rows])
    answers = torch.tensor(
        [len(start) + len(prompt) - 1 for start, prompt in zip(starts, prompts, strict=True)]
    )
    return tokens, targets, answers


def loss_of(model: GPT2LMHeadModel, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the mean loss over all tokens plus the mean loss over the answers alone."""
    tokens, targets, answers = batch
    logits = model(tokens).logits
    rows = torch.arange(len(tokens))
    every = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    return every + functional.cross_entropy(logits[rows, answers], targets[rows, answers])


def optimizer_for(model: GPT2LMHeadModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices only."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def rate_at(step: int, recipe: Recipe) -> float:
    """Learning rate: linear warm-up, then half a cosine down to zero."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def train(recipe: Recipe, tokenizer: Tokenizer) -> GPT2LMHeadModel:
    """Train a model by the recipe, writing a line every 100 steps to stderr."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    rng = random.Random(recipe.seed)
    seen, _ = split()
    model = new_model(recipe, tokenizer).train()
    optimizer = optimizer_for(model, recipe)
    began = time.monotonic()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, recipe)
        loss = loss_of(model, batch_of(rng, seen, tokenizer, recipe.batch))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.3f} {time.monotonic() - began:.0f} s", file=sys.stderr)
        if step % 500 == 499:
            print(json.dumps(asdict(evaluate(model.eval(), tokenizer, 500, seed=2))), file=sys.stderr)
            model.train()
    return model.eval()


def save(model: GPT2LMHeadModel, tokenizer: Tokenizer, out: Path) -> None:
    """Write weights, configuration and tokenizer as transformers reads them."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=demo_tokenizer.END,
        eos_token=demo_tokenizer.END,
        pad_token=demo_tokenizer.PAD,
        unk_token=demo_tokenizer.UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=model.config.n_positions,
    )
    wrapped.save_pretrained(out)


def parse(arguments: Sequence[str] | None = None) -> tuple[Path, Recipe]:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to write the model to")
    parser.add_argument("--seed", default=Recipe().seed, type=int)
    parser.add_argument("--steps", default=Recipe().steps, type=int)
    options = parser.parse_args(arguments)
    return options.out, Recipe(seed=options.seed, steps=options.steps)


def main() -> None:
    """Train, save and evaluate."""
    out, recipe = parse()
    tokenizer = demo_tokenizer.build()
    model = train(recipe, tokenizer)
    save(model, tokenizer, out)
    print(json.dumps(asdict(evaluate(model, tokenizer, 1000, seed=1))))


if __name__ == "__main__":
    main()
