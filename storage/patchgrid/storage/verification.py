"""How well the scores agree with exact patching, site by site."""

import math
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from patchgrid.estimates import Sums, agreement, estimate, site_agreement, top_overlap
from patchgrid.storage.components import job_sums
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.plots import cells

#: Cells that Spearman's ranks are taken over at most: the first ones, by pair.
RANKED = 1_000_000


@dataclass(frozen=True, slots=True)
class SiteAgreement:
    """A site's scores against its exact effects, cell by cell, weighted by 1 / inclusion.

    A figure that the cells do not determine is None.
    """

    #: One of `names.SITES`.
    site: str
    #: Cells patched exactly.
    n: int
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
    #: Share of cells whose score has the effect's sign.
    sign_agreement: float | None
    #: How many top components are compared.
    top_k: int
    #: Share of the top components by |estimate| that are also the top ones by |mean score|.
    top_overlap: float | None
    #: Components of the site with an estimate: the overlap's sample size.
    components: int


def verification(session: Session, job: JobRecord, *, top_k: int = 10) -> list[SiteAgreement]:
    """Compare scores and exact effects at each of the job's sites; empty if nothing was patched exactly."""
    rows = []
    for site in job.spec.sites:
        sums = job_sums(session, job.id, site, job.kind)
        if sums is not None and sums.sampled and sums["m"].any():
            rows.append(_site(session, job, site, sums, top_k))
    return rows


def _site(session: Session, job: JobRecord, site: str, sums: Sums, top_k: int) -> SiteAgreement:
    from_sums = site_agreement(sums)
    # Ranks cannot be had from sums: they need the cells themselves.
    ranked = cells(session, job, site, limit=RANKED)
    by_rank = agreement(ranked.score, ranked.effect, ranked.inclusion)
    estimates = estimate(sums)
    known = int(np.isfinite(estimates.estimate).sum())
    return SiteAgreement(
        site=site,
        n=from_sums.n,
        pearson=_known(from_sums.pearson),
        spearman=_known(by_rank.spearman),
        spearman_n=by_rank.n,
        slope=_known(from_sums.slope),
        intercept=_known(from_sums.intercept),
        sign_agreement=_known(from_sums.sign_agreement),
        top_k=min(top_k, known),
        top_overlap=_known(top_overlap(estimates.mean, estimates.estimate, top_k)),
        components=known,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
