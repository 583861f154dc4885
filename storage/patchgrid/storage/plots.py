"""The numbers behind the pictures: a site's heatmap, and its scores against its exact effects."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from patchgrid.engine.names import check_name
from patchgrid.estimates import estimate
from patchgrid.storage.components import aligned_labels, job_sums
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.exactscores import with_scores
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.naming import has_inner
from patchgrid.storage.sums import KINDS
from patchgrid.storage.tables import exact

#: Rows read at a time.
_BATCH = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Mean scores or estimated effects of a site, layer by head or layer by aligned position."""

    #: One of `names.SITES`.
    site: str
    #: `estimate` where every cell has one, else `mean`.
    measure: str
    #: float64 `[layer, column]`, metric units; NaN where no pair has the component.
    values: NDArray[np.float64]
    #: What the columns are: heads or neurons from 0, positions from the end (-1 last) or span names; one
    #: empty label for a site without any.
    columns: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A site's exactly patched cells; arrays of equal length, in order of pair."""

    #: Scores by the method asked for, metric units.
    score: NDArray[np.float64]
    #: Exact effects, metric units.
    effect: NDArray[np.float64]
    #: Probabilities of having been drawn.
    inclusion: NDArray[np.float64]


def heatmap(session: Session, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
    """Give a site's heatmap: kind `whole` is layer by head, `aligned` layer by position.

    The latter is summed over heads or neurons, its columns in the order of the prompt. `NothingKept` while no
    chunk is done, and where positions were not kept.
    """
    check_name("site of this job", site, job.spec.sites, "site")
    check_name("kind", kind, KINDS, "kind")
    if kind not in job.kinds(site):
        raise NothingKept(
            f"job {job.id} did not keep the positions of {site}, of which there are many: "
            "run it with --positions keep"
        )
    sums = job_sums(session, job, site, kind, method)
    if sums is None:
        raise NothingKept(f"job {job.id} has no results for {site} yet")
    estimates = estimate(sums)
    complete = bool(np.isfinite(estimates.estimate)[estimates.n > 0].all())
    values = estimates.estimate if complete else estimates.mean
    columns: list[int | str] = [""]
    if sums.aligned:
        columns = aligned_labels(job.spans, sums.axes[1])
        values = values.sum(axis=2) if has_inner(site) else values
        if not job.spans:
            columns, values = columns[::-1], values[:, ::-1]
    elif has_inner(site):
        columns = list(range(sums.axes[1]))
    else:
        values = values[:, None]
    return Heatmap(site, "estimate" if complete else "mean", values, tuple(columns))


def cells(
    session: Session, job: JobRecord, site: str, method: str | None = None, *, limit: int | None = None
) -> Cells:
    """Give a site's exactly patched cells, in order of pair; the first `limit` of them, if given."""
    check_name("site of this job", site, job.spec.sites, "site")
    chosen = job.method(method)
    scored = with_scores(None if chosen == job.method() else chosen)
    by_method = scored.selected_columns["by_method"]
    query = (
        scored.with_only_columns(by_method, exact.c.effect, exact.c.inclusion, maintain_column_froms=True)
        .where(exact.c.job_id == job.id, exact.c.site == site)
        .order_by(exact.c.pair_index, exact.c.cell)
        .limit(limit)
        .execution_options(yield_per=_BATCH)
    )
    # Rows of SQLAlchemy's are slow to turn into an array, their numbers are not.
    with session.execute(query) as rows:
        parts = [
            np.fromiter(itertools.chain.from_iterable(part), np.float64).reshape(-1, 3)
            for part in rows.partitions()
        ]
    columns = np.concatenate([np.empty((0, 3)), *parts])
    return Cells(*np.ascontiguousarray(columns.T))
