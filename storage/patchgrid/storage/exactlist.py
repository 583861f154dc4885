"""A job's exactly patched cells page by page, in the order of an export."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from patchgrid.engine.names import check_name
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.exactscores import cell_fields, with_scores
from patchgrid.storage.jobs import JobRecord, pair_name
from patchgrid.storage.tables import exact, pair

#: Most cells a page.
MOST = 20_000
#: Most cells of the job that are looked at for a page of one site's.
LOOKED_AT = 50_000
#: Largest row and cell that the databases can look for.
_LARGEST = 2**31 - 1
_key: ColumnElement[Any] = tuple_(exact.c.pair_index, exact.c.cell)
_ITS_PAIR = (pair.c.job_id == exact.c.job_id) & (pair.c.pair_index == exact.c.pair_index)


@dataclass(frozen=True, slots=True)
class ExactPage:
    """Some of a job's cells."""

    #: With the fields of an export's rows, `edge` included, in order of pair and cell.
    items: list[dict[str, Any]]
    #: The row and cell to go on after, or None: there are no more. Items may be few, or none, and more come.
    next: tuple[int, int] | None


def page(
    session: Session,
    job: JobRecord,
    *,
    site: str | None = None,
    method: str | None = None,
    after: tuple[int, int] | None = None,
    limit: int = 1000,
) -> ExactPage:
    """Give the job's cells behind `after` (a row and a cell), at most `limit` (and at most `MOST`).

    `site`: this site's alone, of which `LOOKED_AT` cells of the job are looked at. `method`: whose scores,
    None being the first. `NothingKept` if the job patched nothing exactly, `SpecError` for another job's site
    or method.
    """
    chosen, limit = job.method(method), max(1, min(limit, MOST))
    if job.spec.exact == 0:
        raise NothingKept(f"job {job.id} patched nothing exactly: run it with --exact above 0")
    conditions = [exact.c.job_id == job.id]
    if after is not None:
        conditions.append(tuple_(*(max(-1, min(part, _LARGEST)) for part in after)) < _key)
    last = None
    query = with_scores(None if chosen == job.method() else chosen).where(*conditions)
    if site is not None and check_name("site of this job", site, job.spec.sites) and job.spec.sites[1:]:
        last = _last_looked_at(session, conditions)
        query = query.where(exact.c.site == site)
        query = query if last is None else query.where(tuple_(*last) >= _key)
    query = query.add_columns(pair.c.name).outerjoin(pair, _ITS_PAIR)
    rows = session.execute(query.order_by(exact.c.pair_index, exact.c.cell).limit(limit + 1)).all()
    items = [cell_fields(row, pair_name(row.pair_index, row.name)) for row in rows[:limit]]
    if len(rows) > limit:
        return ExactPage(items, (rows[limit - 1].pair_index, rows[limit - 1].cell))
    return ExactPage(items, last)


def _last_looked_at(session: Session, conditions: list[ColumnElement[bool]]) -> tuple[int, int] | None:
    """Give the row and cell to look at last, or None: all."""
    in_order = select(exact.c.pair_index, exact.c.cell).where(*conditions)
    looked_at = in_order.order_by(exact.c.pair_index, exact.c.cell).limit(LOOKED_AT).subquery().c
    if (session.scalar(select(func.count(looked_at.cell))) or 0) < LOOKED_AT:
        return None
    largest = select(looked_at.pair_index, looked_at.cell)
    row = session.execute(largest.order_by(looked_at.pair_index.desc(), looked_at.cell.desc()).limit(1)).one()
    return row.pair_index, row.cell
