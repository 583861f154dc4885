"""Questions put to one model, one at a time: nnsight cannot trace a model in several threads at once."""

import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager

from patchgrid.core.errors import ArgumentError
from patchgrid.core.means import Means
from patchgrid.core.query import Query
from patchgrid.core.types import Pair
from patchgrid.engine.allowed import check_supported
from patchgrid.engine.budget import Budget
from patchgrid.engine.calls import Call, OnBatch, ignore
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.results import Measured, PairResult
from patchgrid.engine.running import run_call, tokenized, with_means
from patchgrid.engine.runs.averaging import sites_of_means
from patchgrid.engine.runs.question import Question
from patchgrid.engine.tokenization.tokens import TokenPair


def check_pairs(pairs: object) -> None:
    """Raise `ArgumentError` for anything but a list of pairs."""
    if isinstance(pairs, str) or not isinstance(pairs, Sequence):
        raise ArgumentError(f"pairs must be a list of Pair, not {_a_kind(pairs)}", "pairs")
    for index, pair in enumerate(pairs):
        if not isinstance(pair, Pair):
            raise ArgumentError(f"pairs must be a list of Pair; item {index} is {_a_kind(pair)}", "pairs")


def _a_kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


class Caller:
    """Checks what is asked of a model, and runs calls one after the other."""

    def __init__(self, model: LoadedModel) -> None:
        #: Held while the model is in use.
        self.lock = threading.Lock()
        self._model = model
        self._own_budget = Budget.of(model)

    def check(self, query: Query) -> None:
        """Raise `SpecError`, which says what would work, for what the model cannot give."""
        with self.alone():
            check_supported(self._model, query)

    def question(self, query: Query, means: Means | None = None, *, keep_positions: bool = True) -> Question:
        """Make a question of a query, once it is checked."""
        self.check(query)
        if means is not None:
            if not isinstance(means, Means):
                raise ArgumentError(
                    f"means must be what Engine.means returned, not {_a_kind(means)}", "means"
                )
            means.check(query.source, sites_of_means(query.sites), self._model.layout.n_layers)
        return Question(query, keep_positions, means)

    def budget(self, batch_tokens: int | None) -> Budget:
        """Return a budget of fixed padded tokens per batch; None: the auto-tuned one."""
        return self._own_budget if batch_tokens is None else Budget.fixed(batch_tokens)

    def run(
        self, call: Call, pairs: Sequence[Pair], prepend_bos: bool | None, wanted: Container[int]
    ) -> list[Measured]:
        """Run a call over the wanted pairs, in batches that are halved when out of memory."""
        reasons = ["not measured" if index in wanted else None for index in range(len(pairs))]
        results = [Measured(PairResult(error=reason)) for reason in reasons]

        def fail(index: int, reason: str) -> None:
            results[index] = Measured(PairResult(error=reason))

        able = tokenized(self._model, pairs, prepend_bos, fail)
        good = [pair for pair in able if pair.index in wanted]
        with self.alone(call.on_batch):
            run_call(with_means(call, able), good, results.__setitem__, fail)
        return results

    def tokenized(self, pairs: Sequence[Pair], prepend_bos: bool | None) -> list[TokenPair]:
        """Tokenize the pairs that can be measured."""
        check_pairs(pairs)
        return tokenized(self._model, pairs, prepend_bos, lambda _index, _reason: None)

    @contextmanager
    def alone(self, on_batch: OnBatch = ignore) -> Iterator[None]:
        """Wait for the model; `on_batch` is told of each pass through it."""
        with self.lock, self._model.pulse.telling(lambda: on_batch(0.0)):
            # Other code may have set the model to train mode: dropout would be scored as an effect.
            self._model.envoy._module.eval()  # noqa: SLF001
            self._model.check_unchanged()
            yield
