"""Drawing the sample again: which cells the seed selects, and with what probability."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from patchgrid.estimates import Sums
from patchgrid.estimates.sampling import draw
from patchgrid.storage.chunks.job_sample import JobSample
from patchgrid.storage.jobs.jobs import JobRecord

#: Relative difference of probabilities: scores are rounded to float32 where they are stored.
_CLOSE = 1e-5
#: A pair's cells of a site by their index along the axes of its scores.
Found = Mapping[tuple[int, ...], Row[Any]]


class Draws:
    """The sample of one job."""

    def __init__(self, job: JobRecord, pilot: Mapping[str, Sums]) -> None:
        self._job, self._sample = job, JobSample(job.spec, job.pairs, pilot)

    def compare(
        self,
        site: str,
        rows: Sequence[int],
        scores: NDArray[Any],
        present: NDArray[Any] | None,
        sampled: Sequence[Found],
    ) -> Iterator[str]:
        """Compare the cells of pairs whose scores `[pair, *axes]` are known with those that are drawn."""
        axes = scores.shape[1:]
        drawn, inclusion = self._sample.draw(site, rows, scores, present)
        for place, row in enumerate(rows):
            mask = np.zeros(axes, np.bool_)
            name = f"pair {row}: an exact cell of {site}"
            for index, cell in sampled[place].items():
                mask[index] = True
                chance, score = inclusion[place][index], scores[place][index]
                if abs(cell.inclusion - chance) > _CLOSE * chance:
                    yield f"{name} has inclusion {cell.inclusion:.6g}, expected {chance:.6g}"
                if abs(cell.score - score) > _CLOSE * abs(cell.score):
                    yield f"{name} has score {cell.score:.6g}, but the scores blob has {score:.6g}"
            other = np.argwhere(mask != drawn[place])
            if len(other) and not self._on_the_edge(site, row, other, inclusion[place]):
                yield f"pair {row}: the exact cells of {site} are not those drawn with the job's seed"

    def compare_few(self, site: str, row: int, axes: Sequence[int], sampled: Found) -> Iterator[str]:
        """Compare cells of one pair with what is drawn where its scores are not known."""
        draws = draw(self._job.spec.seed, site, row, tuple(axes))
        if any(draws[index] >= cell.inclusion * (1 + _CLOSE) for index, cell in sampled.items()):
            yield f"pair {row}: an exact cell of {site} is not drawn with the job's seed"

    def _on_the_edge(
        self, site: str, row: int, places: NDArray[np.intp], inclusion: NDArray[np.float64]
    ) -> bool:
        """Return whether rounding decides about all of these cells."""
        draws = draw(self._job.spec.seed, site, row, inclusion.shape)
        index = tuple(places.T)
        return bool((np.abs(draws[index] - inclusion[index]) <= _CLOSE * inclusion[index]).all())
