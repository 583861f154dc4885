"""How well each method's scores agree with exact patching, site by site, and what each cost."""

import math
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.estimates import Sums, agreement, estimate, site_agreement, top_overlap
from patchgrid.storage import tables
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import job_sums
from patchgrid.storage.results.plots import cells
from patchgrid.storage.tables import chunk, exact

#: What the runs that all methods share, and patching, are called in the table `cost`.
SHARED, EXACT = "shared", "exact"

#: Cells that Spearman's ranks are taken over at most: the first ones, by pair.
RANKED = 1_000_000


@dataclass(frozen=True, slots=True)
class SiteAgreement:
    """A site's scores by a method against its exact effects, cell by cell, weighted by 1 / inclusion.

    A figure that the cells do not determine is None.
    """

    #: One of `SITES`.
    site: str
    #: One of the job's methods.
    method: str
    #: Cells patched exactly.
    n: int
    #: All cells of the site: a cell is a component of a pair.
    cells: int
    #: Weighted Pearson correlation.
    pearson: float | None
    #: Weighted Spearman correlation.
    spearman: float | None
    #: Cells that Spearman's is taken over: all, up to `RANKED`.
    spearman_n: int
    #: Slope of effect on score.
    slope: float | None
    #: Intercept of effect on score, metric units.
    intercept: float | None
    #: Mean of effect - score, metric units.
    bias: float | None
    #: Share of cells whose score has the effect's sign.
    sign_agreement: float | None
    #: How many top components are compared.
    top_k: int
    #: Share of the top components by |estimate| that are also the top ones by |mean score|; None where the
    #: site has no more components with an estimate than are compared.
    top_overlap: float | None
    #: Components of the site with an estimate: the overlap's sample size.
    components: int


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
    from_sums = site_agreement(sums)
    # Ranks need the cells themselves, not sums.
    ranked = cells(session, job, site, method, limit=RANKED, named=False)
    by_rank = agreement(ranked.score, ranked.effect, ranked.inclusion)
    estimates = estimate(sums)
    n_finite = int(np.isfinite(estimates.estimate).sum())
    return SiteAgreement(
        site=site,
        method=method,
        n=from_sums.n,
        cells=int(estimates.n.sum()),
        pearson=_finite(from_sums.pearson),
        spearman=_finite(by_rank.spearman),
        spearman_n=by_rank.n,
        slope=_finite(from_sums.slope),
        intercept=_finite(from_sums.intercept),
        bias=_finite(from_sums.bias),
        sign_agreement=_finite(from_sums.sign_agreement),
        top_k=min(top_k, n_finite),
        top_overlap=_finite(top_overlap(estimates.mean, estimates.estimate, top_k)),
        components=n_finite,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
