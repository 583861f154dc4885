"""The table `component_estimate`: a finished job's answer as rows, for SQL."""

from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from patchgrid.core.sites import WIDE_SITES
from patchgrid.storage.chunks.naming import component_values
from patchgrid.storage.db.bulk import insert_rows
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import ComponentRow, ranked
from patchgrid.storage.tables import component_estimate

#: Rows of a site with very many components (neurons, edges) by one method: the strongest.
STRONGEST = 4096
#: Rows of a job whose components are single positions, if that leaves each site and method `STRONGEST`.
BY_POSITION = 65_536
_NUMBERS = (
    "n",
    "mean",
    "mean_abs",
    "std",
    "estimate",
    "ci_low",
    "ci_high",
    "exact_n",
    "pairs_low",
    "pairs_high",
    "shrunk",
    "heavy",
)


def write_estimates(session: Session, job: JobRecord) -> None:
    """Write the rows of a job that is complete, in the transaction that completes it."""
    insert_rows(session, (component_estimate, estimate_rows(session, job)))


def estimate_rows(session: Session, job: JobRecord) -> list[tuple[Any, ...]]:
    """Return the table's rows, by method and rank, from the results of the job's committed chunks.

    The numbers and their order are those of `results top`.
    """
    return [
        (job.id, method, rank, *_values(row))
        for method in job.estimators
        for rank, row in enumerate(ranked(session, job, partial(most_of, job), method=method), 1)
    ]


def most_of(job: JobRecord, site: str) -> int | None:
    """Return how many of a site's components have rows for each method; None: all of them."""
    if site in WIDE_SITES:
        return STRONGEST
    if job.kind == "whole":
        return None
    return max(STRONGEST, BY_POSITION // (len(job.spec.query.sites) * len(job.spec.query.method_names)))


def _values(row: ComponentRow) -> tuple[Any, ...]:
    """Return the columns after the key, in the table's order."""
    values = component_values(row.site, row.layer, row.index, row.edge)
    sender, _, receiver = (row.edge or "").partition("->")
    in_numbers = isinstance(row.position, int)
    return (
        *values,
        row.position if in_numbers else None,
        None if in_numbers else row.position,
        sender or None,
        receiver or None,
        *(getattr(row, name) for name in _NUMBERS),
    )
