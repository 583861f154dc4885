"""How well each method's scores agree with exact patching, site by site, and what each cost."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.estimates import (
    Agreement,
    MeanAgreement,
    Sums,
    TopAgreement,
    agreement,
    estimate,
    mean_agreement,
    top_agreement,
)
from patchgrid.storage import tables
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import job_sums
from patchgrid.storage.results.sampled_cells import sampled_cells
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.tables import chunk, exact

#: What the runs that all methods share, and patching, are called in the table `cost`.
SHARED, EXACT = "shared", "exact"

#: Cells that are compared at most, about; beyond, those of every second, third, ... pair.
MOST = 50_000
#: The confidence of an interval of one standard error to either side.
_ONE_SIGMA = 0.6827


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job's scores and effects took, in seconds per 1,000 pairs; None where it was not noted."""

    #: Method to what a job of it alone would take: the runs that all share, and its own.
    scores: dict[str, float | None]
    #: What patching took.
    exact: float | None
    #: Effects that it gave, over all sites.
    effects: int


def verification(
    session: Session, job: JobRecord, *, top_k: int = 10, method: str | None = None
) -> list[SiteAgreement]:
    """Compare scores and exact effects at each of the job's sites, by each of its methods or by one.

    Empty if nothing was patched exactly.
    """
    methods = job.spec.query.method_names if method is None else (job.method(method),)
    rows = []
    for site in job.spec.query.sites:
        for each in methods:
            sums = job_sums(session, job, site, job.kind, each)
            if sums is not None and sums.sampled and sums["m"].any():
                rows.append(_site(session, job, site, each, sums, top_k))
    return rows


def cost(session: Session, job: JobRecord) -> Cost:
    """Return the job's cost so far."""
    of_job = select(tables.cost.c.method, func.sum(tables.cost.c.seconds)).where(
        tables.cost.c.job_id == job.id
    )
    seconds = {name: taken for name, taken in session.execute(of_job.group_by(tables.cost.c.method))}  # noqa: C416
    pairs = session.scalar(
        select(func.sum(chunk.c.done + chunk.c.failed + chunk.c.skipped)).where(
            chunk.c.job_id == job.id, chunk.c.round.is_(None)
        )
    )
    effects = session.scalar(select(func.count()).select_from(exact).where(exact.c.job_id == job.id))

    def per_1000(*names: str) -> float | None:
        if not pairs or names[-1] not in seconds:
            return None
        return float(1000 * sum(seconds.get(name, 0.0) for name in names) / pairs)

    scores = {method: per_1000(SHARED, method) for method in job.spec.query.method_names}
    return Cost(scores, per_1000(EXACT), effects or 0)


def _site(session: Session, job: JobRecord, site: str, method: str, sums: Sums, top_k: int) -> SiteAgreement:
    patched = round(float(sums["m"].sum()))
    found = sampled_cells(session, job, site, method, sums.axes, every=max(1, -(-patched // MOST)))
    by_cell = agreement(found.score, found.effect, found.inclusion, found.pair, found.component)
    estimates = estimate(sums)
    means, middle, exact_n = estimates.mean, estimates.estimate, estimates.exact_n
    size = sums["w"] ** 2 / np.where(sums["ww"] > 0, sums["ww"], np.inf)
    by_mean = mean_agreement(means, middle, estimates.error, estimates.n, size, found)
    top = top_agreement(means, middle, _population_error(sums), exact_n, top_k)
    figures = {name: value for name, value in _figures(by_cell).items() if name != "n"}
    return SiteAgreement(
        site=site,
        method=method,
        n=patched,
        cells=int(estimates.n.sum()),
        compared=by_cell.n,
        pairs=len(np.unique(found.pair)),
        components=int((estimates.n > 0).sum()),
        **figures,
        **_figures(by_mean, "mean_"),
        **_figures(top, "top_"),
    )


def _figures(of: Agreement | MeanAgreement | TopAgreement, prefix: str = "") -> dict[str, Any]:
    """Return the fields of a dataclass by name, None for NaN."""
    return {f"{prefix}{field.name}": _finite(getattr(of, field.name)) for field in dataclasses.fields(of)}


def _population_error(sums: Sums) -> NDArray[np.float64]:
    """Return the estimates' standard errors for the pairs' source, NaN where there is no interval."""
    found = estimate(sums, population=True, level=_ONE_SIGMA)
    half: NDArray[np.float64] = (found.ci_high - found.ci_low) / 2
    return half


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
