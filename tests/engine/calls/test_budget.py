"""Batches as large as memory holds: grown after each that was done, bounded by one that was not."""

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import torch

from patchgrid.engine.budget import Budget


@dataclass
class Pretended:
    """A memory of so many bytes, of which each token of a batch takes some."""

    free_bytes: int
    token_bytes: int
    tokens: int = 0
    begun: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Take note."""
        self.begun.append(self.tokens)

    def taken(self) -> int:
        """Return the memory that the last batch took."""
        return self.tokens * self.token_bytes

    def free(self) -> int:
        """Return the free memory between batches."""
        return self.free_bytes


def run(budget: Budget, memory: Pretended, batches: int, holds: int) -> list[int]:
    """Run full batches on a memory that holds so many tokens; give the size of those that were done."""
    done = []
    for _ in range(batches):
        memory.tokens = tokens = budget.tokens
        with suppress(torch.OutOfMemoryError), budget.batch(tokens):
            if tokens > holds:
                raise torch.OutOfMemoryError
            done.append(tokens)
    return done


def test_batches_grow_until_memory_is_well_filled() -> None:
    """At most doubling, and up to seven tenths of what is free."""
    memory = Pretended(free_bytes=10_000_000, token_bytes=1000)
    assert run(Budget(500, memory), memory, batches=6, holds=10_000) == [500, 1000, 2000, 4000, 7000, 7000]


def test_what_did_not_fit_is_not_tried_again() -> None:
    """A batch that took far more at once than its size foretold: half of it is the most from then on."""
    memory = Pretended(free_bytes=10_000_000, token_bytes=100)
    assert run(Budget(800, memory), memory, batches=8, holds=2000) == [
        800,
        1600,
        1600,
        1600,
        1600,
        1600,
        1600,
    ]


def test_a_small_last_batch_does_not_shrink_the_next_call() -> None:
    """What is left of a call may be one pair."""
    memory = Pretended(free_bytes=10_000_000, token_bytes=1000)
    budget = Budget(4000, memory)
    run(budget, memory, batches=1, holds=10_000)
    memory.tokens = 3
    with budget.batch(3):
        pass
    assert budget.tokens == 7000


@pytest.mark.parametrize("tokens", [1, 512])
def test_a_budget_that_was_given_stays(tokens: int) -> None:
    """The user's own number is taken as it is, whatever happens."""
    budget = Budget(tokens)
    with budget.batch(tokens):
        pass
    with pytest.raises(torch.OutOfMemoryError), budget.batch(tokens):
        raise torch.OutOfMemoryError
    assert budget.tokens == tokens
