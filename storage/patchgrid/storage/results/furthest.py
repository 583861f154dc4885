"""The exactly patched cells whose scores are furthest from their effects, one per component."""

from typing import Any

from sqlalchemy import BigInteger, Row, Subquery, cast, func, select
from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.core.sites import INDEX_FIELDS
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.exact_scores import (
    cell_fields,
    token_counts,
    with_scores,
)
from patchgrid.storage.pair_results.score_rows import pair_names
from patchgrid.storage.tables import exact

#: Most components per request.
MOST = 1000
#: A pair's row and the number of its cell as one number: the row times this, and the cell.
_PAIR = 2**32


def furthest(
    session: Session, job: JobRecord, site: str, method: str | None = None, limit: int = 12
) -> list[dict[str, Any]]:
    """Return the cell of largest |effect - score| of each of a site's components, the largest first.

    Of all cells of the site. Fields are those of an exact cell, with `off`, |effect - score| in metric units,
    and `cells`, how many of the component were patched. Positions of a component are not distinguished here.
    """
    check_name("site of this job", site, job.spec.query.sites, "site")
    if not job.patched:
        raise NothingKept(f"job {job.id} has no exact effects: run it with --exact above 0")
    chosen = job.method(method)
    scored = with_scores(None if chosen == job.method() else chosen)
    cell = scored.where(exact.c.job_id == job.id, exact.c.site == site).subquery()
    rows = []
    for off, cells, row in _largest(session, cell, max(1, min(limit, MOST))):
        own = range(row.pair_index, row.pair_index + 1)
        name, tokens = pair_names(session, job, own)[row.pair_index], token_counts(session, job, own)
        fields = cell_fields(row, name, tokens.get(row.pair_index))
        rows.append(fields | {"off": off, "cells": cells})
    return rows


def _largest(session: Session, cell: Subquery, most: int) -> list[tuple[float, int, Row[Any]]]:
    """Return each component's largest |effect - score|, its number of cells, and the first cell that has it.

    In two passes that keep a row a component: ranking all cells would sort all of them with all they have.
    """
    place = (cell.c.layer, *(cell.c[field] for field in INDEX_FIELDS), cell.c.component)
    off = func.abs(cell.c.effect - cell.c.by_method)
    largest = func.max(off).label("off")
    groups = select(*place, largest, func.count().label("cells")).group_by(*place)
    counts = {
        (*group[: len(place)], group.off): group.cells
        for group in session.execute(groups.order_by(largest.desc(), *place).limit(most))
    }
    key = func.min(cast(cell.c.pair_index, BigInteger) * _PAIR + cell.c.cell).label("key")
    cells = select(*place, off.label("off"), key).where(off.in_({group[-1] for group in counts}))
    first = {
        group.key: (group.off, counts[tuple(group[: len(place) + 1])])
        for group in session.execute(cells.group_by(*place, off))
        if tuple(group[: len(place) + 1]) in counts
    }
    rows = []
    for each, (distance, count) in sorted(first.items(), key=lambda item: (-item[1][0], item[0])):
        pair_index, number = divmod(each, _PAIR)
        own = select(cell).where(cell.c.pair_index == pair_index, cell.c.cell == number)
        rows.append((distance, count, session.execute(own).one()))
    return rows
