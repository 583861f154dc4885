"""One call of the engine: pairs scored, and components chosen by their scores patched, batch by batch."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.core.component_sets import Patched
from patchgrid.core.methods import Method
from patchgrid.core.query import Query
from patchgrid.core.sites import EDGE, WIDE_SITES
from patchgrid.engine.budget import Budget
from patchgrid.engine.host_copy import HostCopy
from patchgrid.engine.methods import score
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.patching.copies import Copy
from patchgrid.engine.patching.edges import edge_effects
from patchgrid.engine.patching.nodes import effects
from patchgrid.engine.results import Measured, PairResult
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.question import Question
from patchgrid.engine.stopwatch import Stopwatch
from patchgrid.engine.tokenization.tokens import TokenPair

#: Takes the number of pairs that a forward pass finished: a fraction, or 0, where a batch takes several.
OnBatch = Callable[[float], None]
#: From the places of a batch's pairs in the caller's list, and their scores if there are any, to what is
#: patched in each: components, or sets of them.
Choose = Callable[[Sequence[int], Sequence[PairResult]], Sequence[Sequence[Patched]]]
#: What a batch's tensors are known by: method and site; the metrics have names of their own.
_Key = tuple[str, str]
#: Metric and preference of the clean run, then of the corrupted one.
_UNPATCHED: tuple[_Key, ...] = tuple(
    ("", f"{side} {what}") for side in ("clean", "corrupted") for what in ("metric", "preference")
)
#: A batch is scored whole, some of its pairs in vain, from this share of pairs that are not skipped on: for a
#: smaller batch both unpatched runs would have to be made again.
_WHOLE_FROM = 0.75
#: What the other prompt's run, which all methods share, is timed as.
SHARED = "shared"


def ignore(_finished: float) -> None:
    """Be an `OnBatch` that does nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is done with every batch."""

    model: LoadedModel
    question: Question
    #: Which components are patched, or None: none are.
    choose: Choose | None
    #: Padded tokens of a batch, and of a forward pass of patched copies.
    budget: Budget
    on_batch: OnBatch
    #: Whether pairs are only run, clean and corrupted.
    only_run: bool = False
    #: One in this many patches is repeated with only rounding, to measure the floor; None: none is.
    rounding: int | None = None

    @property
    def query(self) -> Query:
        """What is asked of the model."""
        return self.question.query

    def begin(self, group: Sequence[TokenPair]) -> "Begun":
        """Score a batch of pairs; the rest of its work may wait until the next batch has started."""
        passes, watch = self._passes(group), Stopwatch(self.model.device)
        methods = self.query.methods
        skipped = self._skipped(passes, watch) if self.query.only_correct and methods else {}
        kept = [pair for pair in group if pair.index not in skipped]
        if kept and len(kept) < _WHOLE_FROM * len(group):
            passes = self._passes(kept)
        scored = self._score(passes, methods, watch) if (methods or self.only_run) and kept else None
        # A batch that only has to be copied to the host releases its activations.
        return Begun(
            self, tuple(group), passes.batch.pairs, passes if self.choose and kept else None, scored, skipped
        )

    def _passes(self, group: Sequence[TokenPair]) -> Passes:
        batch = make_batch(group, self.model.pad, self.model.device)
        if self.query.source != "pair":
            batch = batch.differing_everywhere()
        patching = self.choose is not None or any(method.patches for method in self.query.methods)
        return Passes(self.model, batch, self.question, patching=patching, tokens=self.budget.tokens)

    def _skipped(self, passes: Passes, watch: Stopwatch) -> dict[int, PairResult]:
        """Return the results of the pairs that are skipped, by their indices."""
        pairs = passes.batch.pairs
        scored = zip(pairs, self.results(pairs, self._score(passes, (), watch)), strict=True)
        return {
            pair.index: replace(result, seconds={}, skipped=True)
            for pair, result in scored
            if result.error is None and not result.clean_preference > 0
        }

    def _score(self, passes: Passes, methods: Sequence[Method], watch: Stopwatch) -> "_Scored":
        """Score a batch by some methods; without any, make its unpatched runs alone."""
        with watch.timing(SHARED):
            passes.source  # noqa: B018 (made on first use)
            if not methods:
                passes.base  # noqa: B018
        tensors: dict[_Key, Tensor] = {}
        for method in methods:
            with watch.timing(method.name):
                tensors |= {(method.name, site): scores for site, scores in score(passes, method).items()}
        metrics = passes.base_rows.of_pairs(passes.base_metric.detach()), passes.source_metric()
        preferences = passes.base_preference(), passes.source_preference()
        both = list(zip(metrics, preferences, strict=True))
        if self.question.denoises:
            both.reverse()
        return _Scored(
            HostCopy({**tensors, **dict(zip(_UNPATCHED, (*both[0], *both[1]), strict=True))}), watch
        )

    def results(self, pairs: Sequence[TokenPair], scored: "_Scored") -> list[PairResult]:
        """Cut each pair's own scores out of its batch's."""
        arrays = scored.host_copy.arrays()
        seconds = {name: taken / len(pairs) for name, taken in scored.watch.seconds().items()}
        unpatched = zip(*(arrays.pop(key).tolist() for key in _UNPATCHED), strict=True)
        return [
            self._result(pair, {key: array[row] for key, array in arrays.items()}, numbers, seconds)
            for row, (pair, numbers) in enumerate(zip(pairs, unpatched, strict=True))
        ]

    def _result(
        self,
        pair: TokenPair,
        scores: Mapping[_Key, NDArray[np.float32]],
        unpatched: tuple[float, ...],
        seconds: dict[str, float],
    ) -> PairResult:
        clean, clean_preference, corrupted, corrupted_preference = unpatched
        if not (np.isfinite(clean) and np.isfinite(corrupted)):
            side = "corrupted" if np.isfinite(clean) else "clean"
            reason = f"the metric of the {side} run is not finite: the model's logits are NaN or infinite"
            return PairResult(error=reason)
        own: dict[str, dict[str, NDArray[np.float32]]] = {}
        for (method, site), array in scores.items():
            own.setdefault(method, {})[site] = self._own_positions(site, array, pair.length)
        tokens, corrupted_tokens = self.model.texts(pair.clean), self.model.texts(pair.corrupted)
        correct, incorrect = (self.model.texts(ids) for ids in pair.answers)
        return PairResult(
            own,
            clean,
            corrupted,
            clean_preference,
            corrupted_preference,
            tokens,
            corrupted_tokens,
            correct,
            incorrect,
            warning=pair.warning,
            prefix=pair.prefix,
            seconds=seconds,
        )

    def _own_positions(self, site: str, scores: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """From a batch's last positions, `[layer, position, ...]`, to a pair's own, 0 where it has none."""
        if site in WIDE_SITES and not self.question.keep_positions:
            return scores
        own = np.zeros((scores.shape[0], length, *scores.shape[2:]), np.float32)
        count = min(length, scores.shape[1])
        own[:, length - count :] = scores[:, scores.shape[1] - count :]
        return own


@dataclass(frozen=True, slots=True)
class _Scored:
    """A batch's scores and metrics on their way to the host, and how long each method took."""

    host_copy: HostCopy[_Key]
    watch: Stopwatch


@dataclass(frozen=True, slots=True)
class Begun:
    """A batch that was started."""

    call: Call
    #: All of its pairs.
    group: tuple[TokenPair, ...]
    #: Those that were scored: a few of the skipped ones may be among them.
    pairs: tuple[TokenPair, ...]
    #: Both unpatched runs, where components are to be patched.
    passes: Passes | None
    scored: _Scored | None
    #: Results of the pairs that are skipped, by their indices.
    skipped: Mapping[int, PairResult]

    def finish(self) -> list[Measured]:
        """Do what is left; one result a pair of the group, in order."""
        call, count = self.call, len(self.group)
        results = [PairResult() for _ in self.pairs]
        if self.scored is not None:
            results = call.results(self.pairs, self.scored)
        results = [
            self.skipped.get(pair.index, result) for pair, result in zip(self.pairs, results, strict=True)
        ]
        measured = [Measured(result) for result in results]
        scoring = float(count)
        if self.passes is not None:
            scoring = 0.0 if self.scored is None else count / 2
        call.on_batch(scoring)
        if self.passes is not None and call.choose is not None:
            measured = self._patch(self.passes, results, call.choose, count - scoring)
        by_index = {pair.index: each for pair, each in zip(self.pairs, measured, strict=True)}
        return [by_index.get(pair.index) or Measured(self.skipped[pair.index]) for pair in self.group]

    def _patch(
        self, passes: Passes, results: Sequence[PairResult], choose: Choose, left: float
    ) -> list[Measured]:
        """Patch the chosen components of each pair; `left` is how many pairs that finishes."""
        pairs, call = self.pairs, self.call
        good = [row for row, result in enumerate(results) if result.error is None and not result.skipped]
        chosen_lists = choose([pairs[row].index for row in good], [results[row] for row in good])
        components_of = dict(zip(good, chosen_lists, strict=True))
        chosen = [tuple(components_of.get(row, ())) for row in range(len(results))]
        copies = [Copy(row, patched) for row, own in enumerate(chosen) for patched in own]
        again = [] if call.rounding is None else copies[:: call.rounding]
        rounding = [replace(copy, rounding=True) for copy in again]
        reported = 0.0

        def on_forward(count: int) -> None:
            nonlocal reported
            share = left * count / (len(copies) + len(rounding))
            reported += share
            call.on_batch(share)

        began = time.perf_counter()
        find = edge_effects if EDGE in call.question.sites else effects
        tried = [*copies, *rounding]
        effects_found = (find(passes, tried, call.budget.tokens, on_forward) if copies else Tensor()).numpy()
        # The effects are on the host: nothing is under way.
        seconds = (time.perf_counter() - began) / len(pairs)
        call.on_batch(left - reported)
        ends = np.cumsum([len(components) for components in chosen])[:-1]
        values = np.split(effects_found[: len(copies)], ends)
        errors = effects_found[len(copies) :]
        own = [errors[[copy.pair == row for copy in rounding]] for row in range(len(pairs))]
        parts = zip(results, chosen, values, own, strict=True)
        return [
            Measured(result, components, effects, seconds, floor[np.isfinite(floor)])
            for result, components, effects, floor in parts
        ]
