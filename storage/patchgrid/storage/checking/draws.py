"""Drawing the sample again: which cells the seed selects, and with what probability."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from patchgrid.estimates import Sums
from patchgrid.estimates.sampling import draw
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.sampling.plans import Plan
from patchgrid.storage.sampling.round_sample import RoundSample

#: Relative difference of probabilities: scores are rounded to float32 where they are stored.
_CLOSE = 1e-5
#: A pair's cells of a site by their index along the axes of its scores.
Found = Mapping[tuple[int, ...], Row[Any]]


class Draws:
    """The sample of one job's pairs, from row number `first` on; `rounds` are those done with each."""

    def __init__(
        self,
        job: JobRecord,
        pilot: Mapping[str, Sums],
        plans: Mapping[int, Plan],
        first: int,
        rounds: Sequence[frozenset[int]],
    ) -> None:
        self._job, self._first, self._rounds = job, first, rounds
        self._sample = RoundSample(job.spec, job.pairs, pilot, plans)

    def lines(self, site: str) -> NDArray[np.float64] | None:
        """Return the line that is known of each component of a site."""
        return self._sample.lines(site)

    def compare(
        self,
        site: str,
        rows: Sequence[int],
        scores: NDArray[Any],
        present: NDArray[Any] | None,
        sampled: Sequence[Found],
    ) -> Iterator[str]:
        """Compare the cells of pairs whose scores `[pair, *axes]` are known with those that are drawn."""
        of_rows = [self._rounds[row - self._first] for row in rows]
        for rounds in set(of_rows):
            here = [place for place, own in enumerate(of_rows) if own == rounds]
            yield from self._compare(
                site,
                [rows[place] for place in here],
                scores[here],
                None if present is None else present[here],
                [sampled[place] for place in here],
                sorted(rounds),
            )

    def _compare(
        self,
        site: str,
        rows: Sequence[int],
        scores: NDArray[Any],
        present: NDArray[Any] | None,
        sampled: Sequence[Found],
        rounds: Sequence[int],
    ) -> Iterator[str]:
        inclusion = self._sample.inclusion(site, rows, scores, present, rounds)
        # Where rounding decides, either is right.
        surely = self._sample.drawn(site, rows, scores, present, rounds, slack=-_CLOSE)
        possibly = self._sample.drawn(site, rows, scores, present, rounds, slack=_CLOSE)
        for place, row in enumerate(rows):
            mask = np.zeros(scores.shape[1:], np.bool_)
            name = f"pair {row}: an exact cell of {site}"
            for index, cell in sampled[place].items():
                mask[index] = True
                chance, score = inclusion[place][index], scores[place][index]
                if abs(cell.inclusion - chance) > _CLOSE * chance:
                    yield f"{name} has inclusion {cell.inclusion:.6g}, expected {chance:.6g}"
                if abs(cell.score - score) > _CLOSE * abs(cell.score):
                    yield f"{name} has score {cell.score:.6g}, but the scores blob has {score:.6g}"
            if (surely[place] & ~mask).any() or (mask & ~possibly[place]).any():
                yield f"pair {row}: the exact cells of {site} are not those drawn with the job's seed"

    def compare_few(self, site: str, row: int, axes: Sequence[int], sampled: Found) -> Iterator[str]:
        """Compare cells of one pair with what is drawn where its scores are not known."""
        draws = draw(self._job.spec.seed, site, row, tuple(axes))
        first = {index: cell for index, cell in sampled.items() if cell.round is None}
        if any(draws[index] >= cell.inclusion * (1 + _CLOSE) for index, cell in first.items()):
            yield f"pair {row}: an exact cell of {site} is not drawn with the job's seed"
