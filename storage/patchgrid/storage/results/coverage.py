"""How many of a job's cells were patched exactly."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import job_sums


@dataclass(frozen=True, slots=True)
class Coverage:
    """Cells of the pairs that were measured so far: a cell is a component of a pair."""

    #: Cells that were patched exactly.
    patched: int
    #: All cells.
    cells: int

    @property
    def share(self) -> float | None:
        """The share of the cells that was patched; None without any."""
        return self.patched / self.cells if self.cells else None


def coverage(session: Session, job: JobRecord, site: str | None = None) -> Coverage:
    """Count a job's cells, or those of one of its sites; the methods share them."""
    if site is not None:
        check_name("site of this job", site, job.spec.query.sites, "site")
    patched = cells = 0
    for each in job.spec.query.sites if site is None else (site,):
        sums = job_sums(session, job, each, job.kind)
        if sums is not None:
            cells += int(sums["n"].sum())
            patched += int(sums["m"].sum()) if sums.sampled else 0
    return Coverage(patched, cells)
