"""A job's results as plain rows, for files."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.core.sites import EDGE, INDEX_FIELDS, WIDE_SITES
from patchgrid.core.states import DELETING, ENDED_JOBS, PairState
from patchgrid.storage import tables
from patchgrid.storage.chunks.naming import with_index_fields
from patchgrid.storage.chunks.rows import TOP_WIDE as TOP_WIDE
from patchgrid.storage.db.database import Database
from patchgrid.storage.errors import JobChanged, NothingKept, NotNormalised
from patchgrid.storage.jobs.jobs import JobRecord, pair_name
from patchgrid.storage.pair_results.exact_scores import (
    cell_fields,
    token_counts,
    with_scores,
)
from patchgrid.storage.pair_results.score_rows import inside_of, pair_names, read_scores
from patchgrid.storage.results.components import ComponentRow, components
from patchgrid.storage.results.normalised import Share, job_share
from patchgrid.storage.results.task import job_task, task_json

#: The field that shares have beside them: the mean clean - corrupted metric.
DIVISOR = "divided_by"
#: The fields that say which component of a layer a row is about.
_PLACE = ("site", "layer", *INDEX_FIELDS)
#: What a component's row names its component by, beside its position.
_NAMED = ("site", "layer", "index", EDGE)
#: What can be exported, with the fields of a row in order.
FIELDS = {
    "scores": ("pair", "component", *_PLACE, "position", "score"),
    "exact": ("pair", "component", *_PLACE, "position", "score", "effect", "inclusion"),
    "components": (
        *("component", *_PLACE),
        *(field.name for field in dataclasses.fields(ComponentRow) if field.name not in _NAMED),
    ),
    "pairs": (
        *("pair", "state", "error", "tokens", "clean_metric", "corrupted_metric"),
        *("clean_preference", "corrupted_preference", "correct_tokens", "incorrect_tokens", "group"),
    ),
}


def fields_of(job: JobRecord, what: str, *, normalise: bool = False) -> tuple[str, ...]:
    """Return the fields of an export's rows.

    Edges have one more, their name; so have shares, what they were divided by.
    """
    more = (EDGE,) if EDGE in job.spec.query.sites and what != "pairs" else ()
    return (*FIELDS[what], *more, *((DIVISOR,) if normalise else ()))


def export_rows(
    database: Database, job: JobRecord, what: str, method: str | None = None, *, normalise: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield rows with the fields of `fields_of`, in an order that depends only on the job.

    Rows come by pair, then site (as in `SITES`), layer, head and position; memory stays bounded. `pair`
    is the given id, else the row number. A missing value is None. With `normalise`, numbers in metric units
    are shares of the job's mean clean - corrupted metric, which stands beside them. Raises `NothingKept` at
    once for what the job did not keep, `NotNormalised` where there is nothing to take shares of.

    Each chunk is read in a transaction of its own: a slow reader holds up nobody. Rows of an ended job are
    those of one state all the same: `JobChanged` if it is deleted, or reopened, before the last row.
    """
    check_kept(job, what, method)
    share = _share(database, job, what) if normalise else None
    chosen = job.estimator(method) if what == "components" else job.method(method)
    fields = fields_of(job, what)
    read = {"scores": read_scores, "exact": _exact, "pairs": _pairs}.get(what)
    rows = _components(database, job, chosen) if read is None else _by_chunk(database, job, chosen, read)
    selected = ({field: row[field] for field in fields} for row in rows)
    if share is None:
        return selected
    return (share.fields(row) | {DIVISOR: share.difference} for row in selected)


def _share(database: Database, job: JobRecord, what: str) -> Share:
    if what == "pairs":
        raise NotNormalised("--normalise does not apply to pairs; use it with scores, exact or components")
    with database.read() as session:
        return job_share(job, task_json(job_task(session, job)))


def check_kept(job: JobRecord, what: str, method: str | None = None) -> None:
    """Raise `NothingKept` for what the job did not keep."""
    check_name("export", what, tuple(FIELDS), "what")
    chosen = job.estimator(method) if what == "components" else job.method(method)
    if what == "scores":
        _check_scores(job, chosen)
    if what == "exact" and not job.patched:
        raise NothingKept(f"job {job.id} has no exact effects: run it with --exact above 0")


def strongest_only(job: JobRecord) -> tuple[str, ...]:
    """Return the job's sites at which only the largest scores of each pair are stored."""
    return tuple(site for site in job.spec.query.sites if site in WIDE_SITES and job.spec.detail == "pairs")


def _check_scores(job: JobRecord, method: str) -> None:
    if job.spec.detail == "summary":
        raise NothingKept(f"job {job.id} stored no scores per pair: run it with --detail pairs or positions")
    first, sites = job.method(), strongest_only(job)
    if method != first and sites == job.spec.query.sites:
        raise NothingKept(
            f"job {job.id} stored only each pair's largest scores by {first}: run it with --detail positions"
        )


#: Reads the rows of a chunk's pairs: all that is asked of the database is asked before it returns.
_Read = Callable[[Session, JobRecord, str, range], Iterable[dict[str, Any]]]


def _by_chunk(database: Database, job: JobRecord, method: str, read: _Read) -> Iterator[dict[str, Any]]:
    """Yield the rows chunk by chunk, each found after the pairs of the one before."""
    done = 0
    while done < job.pairs:
        with database.read() as session:
            _check_unchanged(session, job)
            last = session.scalar(_LAST, {"of_job": job.id, "at_pair": done})
            assert last is not None, f"job {job.id} has no chunk of pair {done}"
            rows = read(session, job, method, range(done, last))
        yield from rows
        done = last


def _components(database: Database, job: JobRecord, method: str) -> Iterator[dict[str, Any]]:
    with database.read() as session:
        _check_unchanged(session, job)
        rows = components(session, job, method=method)
    return (with_index_fields(dataclasses.asdict(row)) | {"component": row.name} for row in rows)


def _check_unchanged(session: Session, job: JobRecord) -> None:
    """Raise `JobChanged` if a job was deleted or reopened."""
    table = tables.job
    current = session.execute(select(table.c.state, table.c.finished_at).where(table.c.id == job.id)).first()
    if current is None or current.state == DELETING:
        raise JobChanged(f"job {job.id} was deleted during the export: the export is incomplete")
    if job.state in ENDED_JOBS and (current.state, current.finished_at) != (job.state, job.finished_at):
        raise JobChanged(
            f"job {job.id} was {job.state} and is {current.state} now, so its results changed during the "
            "export: run it again"
        )


def _pairs(session: Session, job: JobRecord, _method: str, indices: range) -> list[dict[str, Any]]:
    pair, outcome = tables.pair, tables.outcome
    same = and_(outcome.c.job_id == pair.c.job_id, outcome.c.pair_index == pair.c.pair_index)
    fields = FIELDS["pairs"][1:]
    columns = [pair.c.group_name.label(each) if each == "group" else outcome.c[each] for each in fields]
    query = (
        select(pair.c.pair_index, pair.c.name, *columns)
        .outerjoin(outcome, same)
        .where(inside_of(pair, job, indices))
        .order_by(pair.c.pair_index)
    )
    read = []
    for row in session.execute(query).mappings():
        values = {field: row[field] for field in fields}
        if row["state"] is None:
            values |= {"state": PairState.PENDING.value, "tokens": []}
        for answers in ("correct_tokens", "incorrect_tokens"):
            values[answers] = values[answers] or []
        read.append({"pair": pair_name(row["pair_index"], row["name"]), **values})
    return read


def _exact(session: Session, job: JobRecord, method: str, indices: range) -> Iterator[dict[str, Any]]:
    table = tables.exact
    names, tokens = pair_names(session, job, indices), token_counts(session, job, indices)
    cells = with_scores(None if method == job.method() else method).where(inside_of(table, job, indices))
    rows = session.execute(cells.order_by(table.c.pair_index, table.c.cell)).all()
    return (cell_fields(row, names[row.pair_index], tokens.get(row.pair_index)) for row in rows)


# The chunk of a pair; if it is split during the export, it only ends sooner.
_LAST = (
    select(tables.chunk.c.last)
    .where(
        tables.chunk.c.job_id == bindparam("of_job"),
        tables.chunk.c.first <= bindparam("at_pair"),
        tables.chunk.c.round.is_(None),
    )
    .order_by(tables.chunk.c.first.desc())
    .limit(1)
)
