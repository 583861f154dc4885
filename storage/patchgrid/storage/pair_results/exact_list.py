"""A job's exactly patched cells page by page, in the order of an export."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.orm import Session

from patchgrid.core.errors import SpecError
from patchgrid.core.names import REST, check_name
from patchgrid.core.sites import short_name
from patchgrid.storage.chunks.naming import read_name
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord, pair_name
from patchgrid.storage.pair_results.exact_scores import (
    cell_fields,
    token_counts,
    tokens_of_cell,
    with_scores,
)
from patchgrid.storage.tables import exact, pair

#: Most cells a page.
MOST = 20_000
#: Most cells of the job that are looked at for a page of one site's.
LOOKED_AT = 50_000
#: As many for a page of one component's, which are few. No index has them: storing results would take a
#: quarter longer, and reading this many takes less than a second.
LOOKED_AT_FOR_ONE = 500_000
#: Largest row and cell that the databases can look for.
_LARGEST = 2**31 - 1
_POSITION = re.compile("0|-?[1-9][0-9]{0,8}")
_key: ColumnElement[Any] = tuple_(exact.c.pair_index, exact.c.cell)
_ITS_PAIR = (pair.c.job_id == exact.c.job_id) & (pair.c.pair_index == exact.c.pair_index)


@dataclass(frozen=True, slots=True)
class ExactPage:
    """Some of a job's cells."""

    #: With the fields of an export's rows, `edge` included, in order of pair and cell.
    items: list[dict[str, Any]]
    #: The row and cell to continue after, or None: no more. Items may be empty although more follow.
    next: tuple[int, int] | None


def page(
    session: Session,
    job: JobRecord,
    *,
    site: str | None = None,
    method: str | None = None,
    component: str | None = None,
    after: tuple[int, int] | None = None,
    limit: int = 1000,
) -> ExactPage:
    """Return the job's cells after `after` (a row and a cell), at most `limit` (and at most `MOST`).

    `site`: this site's alone, of which `LOOKED_AT` cells of the job are looked at. `component`: those of the
    component of this short name, at all positions, or at the one behind `@`: a span, a position from the end
    (-1 is the last token), or from 0 on an index into the pair's own tokens; `LOOKED_AT_FOR_ONE` are looked
    at. `method`: whose scores, None being the first. `NothingKept` if the job patched nothing exactly,
    `SpecError` for another job's site or method.
    """
    chosen, limit = job.method(method), max(1, min(limit, MOST))
    if site is not None:
        check_name("site of this job", site, job.spec.query.sites, "site")
    if not job.patched:
        raise NothingKept(f"job {job.id} patched nothing exactly: run it with --exact above 0")
    narrowed = [] if site is None or not job.spec.query.sites[1:] else [exact.c.site == site]
    if component is not None:
        of_it = _of_component(job, site, component)
        if of_it is None:
            return ExactPage([], None)
        narrowed = of_it
    conditions = [exact.c.job_id == job.id]
    if after is not None:
        conditions.append(tuple_(*(max(-1, min(part, _LARGEST)) for part in after)) < _key)
    query = with_scores(None if chosen == job.method() else chosen).where(*conditions, *narrowed)
    last = None
    if narrowed:
        last = _last_looked_at(session, conditions, LOOKED_AT if component is None else LOOKED_AT_FOR_ONE)
        query = query if last is None else query.where(tuple_(*last) >= _key)
    query = query.add_columns(pair.c.name).outerjoin(pair, _ITS_PAIR)
    rows = session.execute(query.order_by(exact.c.pair_index, exact.c.cell).limit(limit + 1)).all()
    tokens = token_counts(session, job, range(rows[0].pair_index, rows[-1].pair_index + 1)) if rows else {}
    items = [
        cell_fields(row, pair_name(row.pair_index, row.name), tokens.get(row.pair_index))
        for row in rows[:limit]
    ]
    if len(rows) > limit:
        return ExactPage(items, (rows[limit - 1].pair_index, rows[limit - 1].cell))
    return ExactPage(items, last)


def _of_component(job: JobRecord, site: str | None, name: str) -> list[ColumnElement[bool]] | None:
    """Return the conditions for the cells of a named component, or None if the job has no such cells."""
    named = read_name(name)
    if named is None or named.site not in job.spec.query.sites or site not in (None, named.site):
        return None
    place = named.place
    columns: dict[str, Any] = {
        "site": named.site,
        "component": short_name(named.site, place.layer, place.index, edge=place.edge),
    }
    if named.position is not None and job.spans:
        if named.position not in (*job.spans, REST):
            return None
        columns["span"] = named.position
    conditions = [exact.c[column] == value for column, value in columns.items()]
    if named.position is not None and not job.spans:
        if _POSITION.fullmatch(named.position) is None:
            raise SpecError(
                f"position {named.position!r} is not a whole number: -1 is the last token, 0 the first; "
                f"omit '@{named.position}' for the cells at all positions",
                field="component",
            )
        position = int(named.position)
        conditions.append(exact.c.position == (position if position >= 0 else tokens_of_cell() + position))
    return conditions


def _last_looked_at(
    session: Session, conditions: list[ColumnElement[bool]], most: int
) -> tuple[int, int] | None:
    """Return the row and cell to search up to, or None for all."""
    in_order = select(exact.c.pair_index, exact.c.cell).where(*conditions)
    last_cell = in_order.order_by(exact.c.pair_index, exact.c.cell).offset(most - 1).limit(1)
    row = session.execute(last_cell).one_or_none()
    return None if row is None else (row.pair_index, row.cell)
