"""A job's results as plain rows, for files."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from patchgrid.engine.names import EDGE, WIDE_SITES, check_name
from patchgrid.storage import tables
from patchgrid.storage._rows import TOP_WIDE as TOP_WIDE
from patchgrid.storage.components import ComponentRow, components
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.exactscores import cell_fields, with_scores
from patchgrid.storage.jobs import JobRecord, pair_name
from patchgrid.storage.scorerows import chunk_ranges, inside_of, pair_names, pair_scores

#: What can be exported, with the fields of a row in order.
FIELDS = {
    "scores": ("pair", "site", "layer", "head", "neuron", "position", "score"),
    "exact": ("pair", "site", "layer", "head", "neuron", "position", "score", "effect", "inclusion"),
    "components": tuple(field.name for field in dataclasses.fields(ComponentRow) if field.name != EDGE),
    "pairs": (
        *("pair", "state", "error", "tokens", "clean_metric", "corrupted_metric"),
        *("clean_preference", "corrupted_preference", "correct_tokens", "incorrect_tokens"),
    ),
}


def fields_of(job: JobRecord, what: str) -> tuple[str, ...]:
    """Give the fields of an export's rows; edges have one more, their name."""
    named = EDGE in job.spec.sites and what != "pairs"
    return (*FIELDS[what], EDGE) if named else FIELDS[what]


def export_rows(
    session: Session, job: JobRecord, what: str, method: str | None = None
) -> Iterator[dict[str, Any]]:
    """Give rows with the fields of `fields_of`, in an order that depends on nothing but the job.

    Rows come by pair, then site (as in `names.SITES`), layer, head and position; memory stays bounded. `pair`
    is the given id, else the row number. A missing value is None. Raises `NothingKept` at once for what the
    job did not keep.
    """
    check_kept(job, what, method)
    chosen = job.method(method)
    rows = {"scores": pair_scores, "exact": _exact, "components": _components, "pairs": _pairs}[what]
    fields = fields_of(job, what)
    return ({field: row[field] for field in fields} for row in rows(session, job, chosen))


def check_kept(job: JobRecord, what: str, method: str | None = None) -> None:
    """Raise `NothingKept` for what the job did not keep."""
    check_name("export", what, tuple(FIELDS), "what")
    chosen = job.method(method)
    if what == "scores":
        _check_scores(job, chosen)
    if what == "exact" and job.spec.exact == 0:
        raise NothingKept(f"job {job.id} patched nothing exactly: run it with --exact above 0")


def strongest_only(job: JobRecord) -> tuple[str, ...]:
    """Give the job's sites of which each pair's scores are not kept, but for the largest."""
    return tuple(site for site in job.spec.sites if site in WIDE_SITES and job.spec.detail == "pairs")


def _check_scores(job: JobRecord, method: str) -> None:
    if job.spec.detail == "summary":
        raise NothingKept(
            f"job {job.id} kept no scores of single pairs: run it with --detail pairs or positions"
        )
    first, sites = job.method(), strongest_only(job)
    if method != first and sites == job.spec.sites:
        raise NothingKept(
            f"job {job.id} kept of each pair the largest scores by {first} only: "
            "run it with --detail positions"
        )


def _components(session: Session, job: JobRecord, method: str) -> Iterator[dict[str, Any]]:
    return (dataclasses.asdict(row) for row in components(session, job, method=method))


def _pairs(session: Session, job: JobRecord, _method: str) -> Iterator[dict[str, Any]]:
    pair, outcome = tables.pair, tables.outcome
    same = and_(outcome.c.job_id == pair.c.job_id, outcome.c.pair_index == pair.c.pair_index)
    fields = FIELDS["pairs"][1:]
    query = select(pair.c.pair_index, pair.c.name, *(outcome.c[field] for field in fields)).outerjoin(
        outcome, same
    )
    for first, last in chunk_ranges(session, job):
        inside = pair.c.pair_index.between(first, last - 1)
        for row in session.execute(
            query.where(pair.c.job_id == job.id, inside).order_by(pair.c.pair_index)
        ).mappings():
            values = {field: row[field] for field in fields}
            if row["state"] is None:
                values |= {"state": "pending", "tokens": []}
            for answers in ("correct_tokens", "incorrect_tokens"):
                values[answers] = values[answers] or []
            yield {"pair": pair_name(row["pair_index"], row["name"]), **values}


def _exact(session: Session, job: JobRecord, method: str) -> Iterator[dict[str, Any]]:
    table = tables.exact
    cells = with_scores(None if method == job.method() else method)
    for first, last in chunk_ranges(session, job):
        names = pair_names(session, job, first, last)
        inside = inside_of(table, job, first, last)
        for row in session.execute(cells.where(inside).order_by(table.c.pair_index, table.c.cell)):
            yield cell_fields(row, names[row.pair_index])
