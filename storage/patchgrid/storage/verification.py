"""How well the scores agree with exact patching, site by site."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.storage.jobs import JobRecord


@dataclass(frozen=True, slots=True)
class SiteAgreement:
    """A site's scores against its exact effects, cell by cell, weighted by 1 / inclusion; None where undefined."""

    #: One of `names.SITES`.
    site: str
    #: Cells patched exactly.
    n: int
    #: Weighted Pearson correlation.
    pearson: float | None
    #: Weighted Spearman correlation.
    spearman: float | None
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
    raise NotImplementedError
