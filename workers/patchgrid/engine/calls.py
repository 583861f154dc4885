"""One call of the engine: pairs scored, and components chosen by their scores patched, batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.engine.batches import make_batch
from patchgrid.engine.copies import Copy
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


@dataclass(frozen=True, slots=True)
class Call:
    """What is done with every batch."""

    model: LoadedModel
    question: Question
    #: How scores are made, or None: none are.
    method: str | None
    #: Which components are patched, or None: none are.
    choose: Choose | None
    #: Padded tokens of a forward pass of patched copies.
    batch_tokens: int
    on_batch: OnBatch

    def measure(self, group: Sequence[TokenPair]) -> list[Measured]:
        """Measure one batch of pairs; one result each, in order."""
        batch = make_batch(group, self.model.pad, self.model.device)
        passes = Passes(self.model, batch, self.question, patching=self.choose is not None)
        results = self._score(passes) if self.method else [PairResult() for _ in group]
        if self.choose is None:
            self.on_batch(len(group))
            return [Measured(result) for result in results]
        scoring = len(group) / 2 if self.method else 0.0
        self.on_batch(scoring)
        return self._patch(passes, results, self.choose, len(group) - scoring)

    def _score(self, passes: Passes) -> list[PairResult]:
        assert self.method is not None, "a call without a method scores nothing"
        scores = METHODS[self.method](passes)
        base, source = passes.base_rows.of_pairs(passes.base_metric().detach()), passes.source_metric()
        clean, corrupted = passes.question.clean_of(base, source), passes.question.clean_of(source, base)
        arrays = {site: array.cpu().numpy() for site, array in scores.items()}
        return [
            self._result(pair, {site: array[row] for site, array in arrays.items()}, *metrics)
            for row, (pair, *metrics) in enumerate(
                zip(passes.batch.pairs, clean.tolist(), corrupted.tolist(), strict=True)
            )
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

    def _patch(
        self, passes: Passes, results: Sequence[PairResult], choose: Choose, left: float
    ) -> list[Measured]:
        """Patch the chosen components of each pair; `left` is how many pairs that finishes."""
        good = [row for row, result in enumerate(results) if result.error is None]
        asked = choose([passes.batch.pairs[row].index for row in good], [results[row] for row in good])
        components_of = dict(zip(good, asked, strict=True))
        chosen = [tuple(components_of.get(row, ())) for row in range(len(results))]
        copies = [Copy(row, component) for row, components in enumerate(chosen) for component in components]
        reported = 0.0

        def on_forward(count: int) -> None:
            nonlocal reported
            reported += left * count / len(copies)
            self.on_batch(left * count / len(copies))

        found = effects(passes, copies, self.batch_tokens, on_forward) if copies else Tensor()
        self.on_batch(left - reported)
        ends = np.cumsum([len(components) for components in chosen])[:-1]
        values = np.split(found.numpy(), ends)
        return [Measured(*each) for each in zip(results, chosen, values, strict=True)]


def _own_positions(scores: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """From a batch's last positions, `[layer, position(, head)]`, to a pair's own, 0 where there is none."""
    own = np.zeros((scores.shape[0], length, *scores.shape[2:]), np.float32)
    count = min(length, scores.shape[1])
    own[:, length - count :] = scores[:, scores.shape[1] - count :]
    return own
