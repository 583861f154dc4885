"""One call of the engine: pairs scored, and components chosen by their scores patched, batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.engine.batches import make_batch
from patchgrid.engine.budget import Budget
from patchgrid.engine.copies import Copy
from patchgrid.engine.landing import Landing
from patchgrid.engine.loading import LoadedModel
from patchgrid.engine.methods import METHODS
from patchgrid.engine.passes import Passes
from patchgrid.engine.patching import effects
from patchgrid.engine.question import Question
from patchgrid.engine.results import Measured, PairResult
from patchgrid.engine.tokens import TokenPair
from patchgrid.engine.types import Component

#: Takes the number of pairs that a forward pass finished: a fraction where a batch takes several.
OnBatch = Callable[[float], None]
#: From the places of a batch's pairs in the caller's list, and their scores if there are any, to the
#: components to patch in each.
Choose = Callable[[Sequence[int], Sequence[PairResult]], Sequence[Sequence[Component]]]
#: Names of the metrics among a batch's scores.
_CLEAN, _CORRUPTED = "clean metric", "corrupted metric"


@dataclass(frozen=True, slots=True)
class Call:
    """What is done with every batch."""

    model: LoadedModel
    question: Question
    #: How scores are made, or None: none are.
    method: str | None
    #: Which components are patched, or None: none are.
    choose: Choose | None
    #: Padded tokens of a batch, and of a forward pass of patched copies.
    budget: Budget
    on_batch: OnBatch

    def begin(self, group: Sequence[TokenPair]) -> "Begun":
        """Have a batch of pairs scored; what is left to do for it may wait until another batch has begun."""
        batch = make_batch(group, self.model.pad, self.model.device)
        passes = Passes(self.model, batch, self.question, patching=self.choose is not None)
        scored = self._score(passes) if self.method else None
        # A batch that only has to land lets go of its activations.
        return Begun(self, batch.pairs, passes if self.choose else None, scored)

    def _score(self, passes: Passes) -> Landing:
        assert self.method is not None, "a call without a method scores nothing"
        scores = METHODS[self.method](passes)
        base, source = passes.base_rows.of_pairs(passes.base_metric.detach()), passes.source_metric()
        clean, corrupted = passes.question.clean_of(base, source), passes.question.clean_of(source, base)
        return Landing({**scores, _CLEAN: clean, _CORRUPTED: corrupted})

    def results(self, pairs: Sequence[TokenPair], scored: Landing) -> list[PairResult]:
        """Cut each pair's own scores out of its batch's."""
        arrays = scored.arrays()
        metrics = zip(arrays.pop(_CLEAN).tolist(), arrays.pop(_CORRUPTED).tolist(), strict=True)
        return [
            self._result(pair, {site: array[row] for site, array in arrays.items()}, clean, corrupted)
            for row, (pair, (clean, corrupted)) in enumerate(zip(pairs, metrics, strict=True))
        ]

    def _result(
        self, pair: TokenPair, scores: Mapping[str, NDArray[np.float32]], clean: float, corrupted: float
    ) -> PairResult:
        if not (np.isfinite(clean) and np.isfinite(corrupted)):
            side = "corrupted" if np.isfinite(clean) else "clean"
            reason = f"the metric of the {side} run is not finite: the model's logits are NaN or infinite"
            return PairResult(error=reason)
        own = {site: _own_positions(array, pair.length) for site, array in scores.items()}
        tokens, corrupted_tokens = (self.model.texts(ids) for ids in (pair.clean, pair.corrupted))
        return PairResult(own, clean, corrupted, tokens, corrupted_tokens, warning=pair.warning)


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch that was begun."""

    call: Call
    pairs: tuple[TokenPair, ...]
    #: Both unpatched runs, where components are to be patched.
    passes: Passes | None
    scored: Landing | None

    def finish(self) -> list[Measured]:
        """Do what is left; one result a pair, in order."""
        pairs, call = self.pairs, self.call
        results = [PairResult() for _ in pairs]
        if self.scored is not None:
            results = call.results(pairs, self.scored)
        if self.passes is None or call.choose is None:
            call.on_batch(len(pairs))
            return [Measured(result) for result in results]
        scoring = 0.0 if self.scored is None else len(pairs) / 2
        call.on_batch(scoring)
        return self._patch(self.passes, results, call.choose, len(pairs) - scoring)

    def _patch(
        self, passes: Passes, results: Sequence[PairResult], choose: Choose, left: float
    ) -> list[Measured]:
        """Patch the chosen components of each pair; `left` is how many pairs that finishes."""
        pairs, call = self.pairs, self.call
        good = [row for row, result in enumerate(results) if result.error is None]
        asked = choose([pairs[row].index for row in good], [results[row] for row in good])
        components_of = dict(zip(good, asked, strict=True))
        chosen = [tuple(components_of.get(row, ())) for row in range(len(results))]
        copies = [Copy(row, component) for row, components in enumerate(chosen) for component in components]
        reported = 0.0

        def on_forward(count: int) -> None:
            nonlocal reported
            reported += left * count / len(copies)
            call.on_batch(left * count / len(copies))

        found = effects(passes, copies, call.budget.tokens, on_forward) if copies else Tensor()
        call.on_batch(left - reported)
        ends = np.cumsum([len(components) for components in chosen])[:-1]
        values = np.split(found.numpy(), ends)
        return [Measured(*each) for each in zip(results, chosen, values, strict=True)]


def _own_positions(scores: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """From a batch's last positions, `[layer, position(, head)]`, to a pair's own, 0 where there is none."""
    own = np.zeros((scores.shape[0], length, *scores.shape[2:]), np.float32)
    count = min(length, scores.shape[1])
    own[:, length - count :] = scores[:, scores.shape[1] - count :]
    return own
