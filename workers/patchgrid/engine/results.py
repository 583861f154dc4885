"""What the engine returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.component_sets import Patched
from patchgrid.core.text.wording import counted

#: Site to scores.
SiteScores = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class PairResult:
    """One pair's scores and metrics, or the reason why it has none."""

    #: In metric units: method, then site, to a float32 array `[layer, position]`, of a site with an index
    #: `[layer, position, index]`, for `edge` `[edge, position]`.
    scores: Mapping[str, SiteScores] = field(default_factory=dict)
    #: Metric of the unpatched clean run; NaN where the pair failed.
    clean_metric: float = float("nan")
    #: Metric of the unpatched corrupted run; NaN where the pair failed.
    corrupted_metric: float = float("nan")
    #: logsumexp(correct answers' logits) - logsumexp(incorrect ones') of the unpatched clean run, whatever
    #: the metric: above 0 where it prefers the correct answers; NaN where it is not known.
    clean_preference: float = float("nan")
    #: The same of the unpatched corrupted run.
    corrupted_preference: float = float("nan")
    #: The clean prompt's tokens as text, one a position.
    tokens: tuple[str, ...] = ()
    #: The corrupted prompt's tokens as text, one a position.
    corrupted_tokens: tuple[str, ...] = ()
    #: The correct answers' tokens as text, in order.
    correct_tokens: tuple[str, ...] = ()
    #: The incorrect answers' tokens as text.
    incorrect_tokens: tuple[str, ...] = ()
    #: Skipped, without scores: only pairs that the model gets right were requested.
    skipped: bool = False
    #: Why the pair could not be measured, else None.
    error: str | None = None
    #: What the user should know though the pair was measured (an answer without its leading space).
    warning: str | None = None
    #: Tokens at the start of both prompts that stand before their texts.
    prefix: int = 0
    #: Method to the seconds its scores took, a share of the batch's.
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        if self.error is not None:
            return f"PairResult(error={self.error!r})"
        metrics = f"clean_metric={self.clean_metric:.4g}, corrupted_metric={self.corrupted_metric:.4g}"
        if self.skipped:
            return f"PairResult(skipped, {metrics})"
        shapes = [
            f"{method}: " + ", ".join(f"{site} {list(array.shape)}" for site, array in sites.items())
            for method, sites in self.scores.items()
        ]
        return f"PairResult({'; '.join([*shapes, metrics])})"


class Results(list[PairResult]):
    """The results of a call, one a pair, in order."""

    @property
    def scores(self) -> Mapping[str, SiteScores]:
        """All pairs' scores together: method, then site, to float32 `[pair, layer, position(, index)]`.

        As `PairResult.scores` with a pair axis in front. Positions are aligned at the last token, -1; where a
        pair has no such position, or no scores, there is NaN.
        """
        return {method: _Stacked(self, method) for method in self._methods}

    @property
    def _methods(self) -> tuple[str, ...]:
        return next((tuple(each.scores) for each in self if each.scores), ())

    def __repr__(self) -> str:
        failed = sum(each.error is not None for each in self)
        skipped = sum(each.skipped for each in self)
        what = [
            f"{', '.join(self._methods)} at {', '.join(self.scores[self._methods[0]])}"
            if self._methods
            else "",
            f"{failed:,} failed" if failed else "",
            f"{skipped:,} skipped" if skipped else "",
        ]
        return f"<Results of {'; '.join([counted(len(self), 'pair'), *filter(None, what)])}>"


@dataclass(frozen=True, slots=True)
class _Stacked(Mapping[str, NDArray[np.float32]]):
    """One method's scores of all pairs, put together when a site is asked for."""

    results: Results
    method: str

    def __getitem__(self, site: str) -> NDArray[np.float32]:
        parts = [each.scores[self.method][site] if each.scores else None for each in self.results]
        shapes = [part.shape for part in parts if part is not None]
        largest = tuple(map(max, zip(*shapes, strict=True)))
        together = np.full((len(parts), *largest), np.nan, np.float32)
        for row, part in zip(together, parts, strict=True):
            if part is not None:
                # Only the number of positions, the second axis, differs between pairs.
                row[
                    tuple(slice(most - size, None) for most, size in zip(largest, part.shape, strict=True))
                ] = part
        return together

    def __iter__(self) -> Iterator[str]:
        return iter(next((each.scores[self.method] for each in self.results if each.scores), ()))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One pair scored, and some of its components patched."""

    result: PairResult
    #: What was patched: components, or sets of them.
    components: tuple[Patched, ...] = ()
    #: float64 `[component]`: metric(patched run) - metric(base run).
    effects: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    #: Seconds that patching took, a share of the batch's.
    seconds: float = 0.0
    #: float64, metric units: effects of some of the patches with the base run's own activation, nudged in its
    #: last place, in place of the source's. Effects of that size cannot be told from rounding.
    rounding: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __repr__(self) -> str:
        return f"<Measured {self.result!r}, {counted(len(self.components), 'effect')}>"

    @property
    def error(self) -> str | None:
        """Why the pair could not be measured, else None."""
        if self.result.error is not None or np.isfinite(self.effects).all():
            return self.result.error
        first = self.components[int(np.flatnonzero(~np.isfinite(self.effects))[0])]
        return f"the effect of {first.name} is not finite"
