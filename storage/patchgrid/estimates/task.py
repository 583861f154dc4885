"""Whether the model does the task: what the unpatched runs say, before any component is looked at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: A share of pairs below this is a reason to doubt that the model does the task.
WEAK = 0.6
#: Pairs that are named as examples.
NAMED = 3
#: A pair's id, or its row number.
Name = int | str


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """Counts and sums over pairs whose two unpatched runs are known; summaries of parts can be added.

    A run's *preference* is logsumexp(logits of the correct answers) - logsumexp(logits of the incorrect
    ones), whatever the job's metric: above 0, it gives the correct answers the larger probability. A
    preference of exactly 0 counts for neither side.
    """

    #: Pairs whose preferences are known: those measured, and those skipped as not done right.
    pairs: int = 0
    #: Pairs measured; the sums are over these.
    measured: int = 0
    #: Sum of the clean runs' metric.
    clean_sum: float = 0.0
    #: Sum of the corrupted runs' metric.
    corrupted_sum: float = 0.0
    #: Sum of (clean - corrupted metric) squared.
    difference_squares: float = 0.0
    #: Pairs whose clean run prefers the correct answers.
    clean_correct: int = 0
    #: Pairs whose corrupted run prefers the incorrect answers.
    corrupted_incorrect: int = 0
    #: Pairs whose clean run prefers the incorrect answers and whose corrupted run the correct ones.
    swapped: int = 0
    #: The first of these, at most `NAMED`.
    swapped_pairs: tuple[Name, ...] = ()
    #: Pairs that failed because an answer's token id lies outside the model's vocabulary.
    outside_vocabulary: int = 0
    #: The first of these, at most `NAMED`.
    outside_pairs: tuple[Name, ...] = ()

    def __add__(self, other: "TaskSummary") -> "TaskSummary":
        """Put two parts of a job together, the earlier one first."""
        return TaskSummary(
            pairs=self.pairs + other.pairs,
            measured=self.measured + other.measured,
            clean_sum=self.clean_sum + other.clean_sum,
            corrupted_sum=self.corrupted_sum + other.corrupted_sum,
            difference_squares=self.difference_squares + other.difference_squares,
            clean_correct=self.clean_correct + other.clean_correct,
            corrupted_incorrect=self.corrupted_incorrect + other.corrupted_incorrect,
            swapped=self.swapped + other.swapped,
            swapped_pairs=(self.swapped_pairs + other.swapped_pairs)[:NAMED],
            outside_vocabulary=self.outside_vocabulary + other.outside_vocabulary,
            outside_pairs=(self.outside_pairs + other.outside_pairs)[:NAMED],
        )

    @property
    def clean_metric(self) -> float | None:
        """Mean metric of the clean runs over the measured pairs; None without any."""
        return self.clean_sum / self.measured if self.measured else None

    @property
    def corrupted_metric(self) -> float | None:
        """Mean metric of the corrupted runs over the measured pairs; None without any."""
        return self.corrupted_sum / self.measured if self.measured else None

    @property
    def clean_share(self) -> float | None:
        """Share of the pairs whose clean run prefers the correct answers; None without any."""
        return self.clean_correct / self.pairs if self.pairs else None

    @property
    def corrupted_share(self) -> float | None:
        """Share of the pairs whose corrupted run prefers the incorrect answers; None without any."""
        return self.corrupted_incorrect / self.pairs if self.pairs else None

    @property
    def difference(self) -> float | None:
        """Mean clean - corrupted metric over the measured pairs; None without any."""
        return (self.clean_sum - self.corrupted_sum) / self.measured if self.measured else None

    @property
    def difference_error(self) -> float | None:
        """Standard error of the mean difference; None with fewer than two pairs."""
        if self.difference is None or self.measured < 2:
            return None
        spread = max(0.0, self.difference_squares - self.measured * self.difference**2)
        return math.sqrt(spread / (self.measured - 1) / self.measured)


def summarize_task(
    names: Sequence[Name],
    clean_metric: ArrayLike,
    corrupted_metric: ArrayLike,
    clean_preference: ArrayLike,
    corrupted_preference: ArrayLike,
    measured: ArrayLike | None = None,
) -> TaskSummary:
    """Summarize pairs, an entry of each argument a pair.

    Parameters
    ----------
    clean_metric, corrupted_metric
        The job's metric of the unpatched runs.
    clean_preference, corrupted_preference
        As in `TaskSummary`. A pair with a NaN among the two is omitted.
    measured
        bool; False for a pair that was skipped: it counts in the shares and not in the means. None: all were
        measured.
    """
    clean, corrupted, m_clean, m_corrupted = (
        np.asarray(values, np.float64)
        for values in (clean_preference, corrupted_preference, clean_metric, corrupted_metric)
    )
    finite = ~(np.isnan(clean) | np.isnan(corrupted))
    used = finite if measured is None else finite & np.asarray(measured, bool)
    swapped = finite & (clean < 0) & (corrupted > 0)
    difference = m_clean[used] - m_corrupted[used]
    return TaskSummary(
        pairs=int(finite.sum()),
        measured=int(used.sum()),
        clean_sum=_sum(m_clean[used]),
        corrupted_sum=_sum(m_corrupted[used]),
        difference_squares=_sum(difference**2),
        clean_correct=int((finite & (clean > 0)).sum()),
        corrupted_incorrect=int((finite & (corrupted < 0)).sum()),
        swapped=int(swapped.sum()),
        swapped_pairs=tuple(names[place] for place in np.flatnonzero(swapped)[:NAMED].tolist()),
    )


def _sum(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist())
