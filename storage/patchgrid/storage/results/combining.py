"""The combined estimate of a job's methods, from its exactly patched cells."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.estimates import Estimates, Sums
from patchgrid.estimates.combined import combined
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.sampled_cells import sampled_cells
from patchgrid.storage.tables import outcome

#: Most cells of a site that are read for it; with more, the first method's estimates stand.
MOST = 200_000
#: Confidence of the intervals.
LEVEL = 0.95


def combine(
    session: Session,
    job: JobRecord,
    site: str,
    sums: Sequence[Sums | None],
    first: Estimates,
    *,
    population: bool = False,
) -> Estimates:
    """Return a site's estimates from all methods' scores; those of the `first` method where cells are few.

    `sums` are those of the job's methods. A component of which nothing is left to chance, or which has fewer
    effective cells than four for each coefficient, keeps the first method's estimate: a rule that does not
    look at effects.
    """
    of_first = sums[0]
    if of_first is None or None in sums or not of_first.sampled or not 0 < of_first["m"].sum() <= MOST:
        return first
    found = [
        sampled_cells(session, job, site, method, of_first.axes) for method in job.spec.query.method_names
    ]
    cells, count = found[0], of_first["n"].size
    pairs = np.maximum(of_first["n"].ravel(), 1)
    totals = _total_effects(session, job, cells.pair)
    scores = np.stack([*(each.score for each in found), totals])
    means = np.stack(
        [*(each["a"].ravel() / pairs for each in sums if each is not None), _d(of_first) / pairs]
    )
    assert means.shape[1] == count, "all methods have the same components"
    fit = combined(scores, cells.effect, cells.inclusion, cells.component, means)
    chance = (of_first["sure"] < of_first["m"]).ravel()
    known = np.isfinite(fit.estimate) & np.isfinite(fit.variance) & chance
    variance = fit.variance + (fit.spread / pairs if population else 0)
    half = special.stdtrit(np.where(known, fit.freedom, 1), (1 + LEVEL) / 2) * np.sqrt(variance)

    def either(new: NDArray[np.float64], old: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(known, new, old.ravel()).reshape(old.shape)

    return replace(
        first,
        estimate=either(fit.estimate, first.estimate),
        ci_low=either(fit.estimate - half, first.ci_low),
        ci_high=either(fit.estimate + half, first.ci_high),
        error=either(np.sqrt(fit.variance), first.error),
    )


def _d(sums: Sums) -> NDArray[np.float64]:
    return sums["d"].ravel()


def _total_effects(session: Session, job: JobRecord, pair: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return clean - corrupted metric of each cell's pair."""
    rows = session.execute(
        select(outcome.c.pair_index, outcome.c.clean_metric, outcome.c.corrupted_metric).where(
            outcome.c.job_id == job.id, outcome.c.clean_metric.is_not(None)
        )
    )
    by_pair = {index: clean - corrupted for index, clean, corrupted in rows}
    unique, places = np.unique(pair, return_inverse=True)
    return np.array([by_pair[int(index)] for index in unique], np.float64)[places]
