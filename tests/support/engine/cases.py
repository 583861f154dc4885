"""One model with its engine, its pairs and the reference's view of each of them."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from patchgrid.engine import Pair
from reference.patching import Reference, TokenPair
from reference.sites import sites
from support.engine.models import DEMO_MODEL, TestModel, demo_model, save_model
from support.engine.prompts import PAIRS
from support.engine.vocabulary import token_id

if TYPE_CHECKING:
    from patchgrid.engine import Engine

#: What float32 rounding of a metric of a few units leaves where a value is near zero.
ROUNDING = 2e-6
#: The demo model's own pairs.
DEMO_PAIRS = DEMO_MODEL.parent / "pairs" / "ioi.jsonl"


class Case:
    """A model in a folder, the engine that loaded it, and the reference runs of its pairs, made once."""

    def __init__(self, model: TestModel, pairs: Sequence[Pair], answers: Sequence[TokenPair]) -> None:
        self.model = model
        self.pairs = list(pairs)
        self.token_pairs = list(answers)
        self._references: dict[str, list[Reference]] = {}

    @cached_property
    def engine(self) -> "Engine":
        """The engine under test, in float32 on the CPU."""
        from patchgrid.engine import Engine

        return Engine.load(str(self.model.folder), device="cpu", dtype="float32")

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """Sites that the model has, by the reference's table."""
        return sites(self.model.model)

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return int(self.model.model.config.num_hidden_layers)

    @property
    def heads(self) -> int:
        """Number of query heads a block."""
        return int(self.model.model.config.num_attention_heads)

    def reference_of(self, pair: TokenPair, direction: str) -> Reference:
        """Run a pair that is not one of the case's own."""
        return Reference(self.model.model, pair, direction)

    def references(self, direction: str) -> list[Reference]:
        """Return each pair's reference runs."""
        if direction not in self._references:
            made = [Reference(self.model.model, pair, direction) for pair in self.token_pairs]
            self._references[direction] = made
        return self._references[direction]


def tiny_case(name: str, root: Path, *, seed: int = 0) -> Case:
    """Make a case of one tiny random model."""
    model = save_model(name, root, seed=seed)
    return Case(model, PAIRS, [tokenize(model, pair) for pair in PAIRS])


def tokenize(model: TestModel, pair: Pair) -> TokenPair:
    """Turn a pair of the tiny vocabulary into ids, its answers looked up one by one."""
    return TokenPair(
        clean=model.tokenizer(pair.clean).input_ids,
        corrupted=model.tokenizer(pair.corrupted).input_ids,
        correct=[token_id(str(answer)) for answer in pair.correct],
        incorrect=[token_id(str(answer)) for answer in pair.incorrect],
    )


def demo_case(count: int = 5) -> Case:
    """Make a case of the demo model and the first indirect-object pairs of its own file."""
    model = demo_model()
    with DEMO_PAIRS.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
    pairs = [Pair(row["clean"], row["corrupted"], row["correct"], row["incorrect"]) for row in rows]
    return Case(model, pairs, [_tokenize_with_answers(model, pair) for pair in pairs])


def _tokenize_with_answers(model: TestModel, pair: Pair) -> TokenPair:
    encode = model.tokenizer
    clean = encode(pair.clean).input_ids

    def last(answer: object) -> int:
        return (
            int(answer) if isinstance(answer, int) else encode(f"{pair.clean}{answer}").input_ids[len(clean)]
        )

    correct, incorrect = [last(a) for a in pair.correct], [last(a) for a in pair.incorrect]
    return TokenPair(clean, encode(pair.corrupted).input_ids, correct, incorrect)


def assert_close(
    found: ArrayLike, expected: ArrayLike, tolerance: float, what: str, floor: float = ROUNDING
) -> None:
    """Compare arrays relative to the largest expected value, `floor` apart at most where that is nothing."""
    left, right = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert left.shape == right.shape, f"{what}: shape {left.shape}, not {right.shape}"
    error, scale = float(np.abs(left - right).max()), float(np.abs(right).max())
    assert error <= tolerance * scale + floor, f"{what}: off by {error:.2e} where the largest is {scale:.2e}"
