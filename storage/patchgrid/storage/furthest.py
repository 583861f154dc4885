"""The exactly patched cells whose scores are furthest from their effects, one a component."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.engine.names import check_name
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.exactscores import cell_fields, token_counts, with_scores
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.scorerows import pair_names
from patchgrid.storage.tables import exact

#: Most components that are asked for at once.
MOST = 1000


def furthest(
    session: Session, job: JobRecord, site: str, method: str | None = None, limit: int = 12
) -> list[dict[str, Any]]:
    """Give the cell of largest |effect - score| of each of a site's components, the largest first.

    Of all cells of the site. Fields are those of an exact cell, with `off`, |effect - score| in metric units,
    and `cells`, how many of the component were patched. Positions of a component are not told apart here.
    """
    check_name("site of this job", site, job.spec.sites, "site")
    if job.spec.exact == 0:
        raise NothingKept(f"job {job.id} patched nothing exactly: run it with --exact above 0")
    chosen = job.method(method)
    scored = with_scores(None if chosen == job.method() else chosen)
    cell = scored.where(exact.c.job_id == job.id, exact.c.site == site).subquery()
    place = (cell.c.layer, cell.c.head, cell.c.neuron, cell.c.edge)
    off = func.abs(cell.c.effect - cell.c.by_method)
    order = (off.desc(), cell.c.pair_index, cell.c.cell)
    rank = func.row_number().over(partition_by=place, order_by=order)
    count = func.count().over(partition_by=place)
    ranked = select(cell, off.label("off"), rank.label("rank"), count.label("cells")).subquery()
    query = select(ranked).where(ranked.c.rank == 1)
    query = query.order_by(ranked.c.off.desc(), ranked.c.pair_index, ranked.c.cell)
    found = []
    for row in session.execute(query.limit(max(1, min(limit, MOST)))).all():
        own = range(row.pair_index, row.pair_index + 1)
        name, tokens = pair_names(session, job, own)[row.pair_index], token_counts(session, job, own)
        fields = cell_fields(row, name, tokens.get(row.pair_index))
        found.append(fields | {"off": row.off, "cells": row.cells})
    return found
