"""A site's exactly patched cells as arrays, each with its pair and its component."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, case, func
from sqlalchemy.orm import Session

from patchgrid.core.names import REST
from patchgrid.core.sites import EDGE, INDEX_FIELDS
from patchgrid.estimates import Cells
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.pair_results.exact_scores import token_counts, with_scores
from patchgrid.storage.tables import exact

#: Rows read at a time: few, or Python's garbage collector goes through all that is loaded while they last.
_BATCH = 2_000


def sampled_cells(
    session: Session, job: JobRecord, site: str, method: str, axes: Sequence[int], *, every: int = 1
) -> Cells:
    """Return the cells of every n-th pair, by pair; `axes` are those of the site's sums."""
    inner = axes[-1] if len(axes) > 1 + (job.kind == "aligned") else 1
    place_of: ColumnElement[Any] = exact.c.component if site == EDGE else _place(inner)
    columns = (exact.c.effect, exact.c.inclusion, exact.c.pair_index, _column(job), place_of)
    scored = with_scores(None if method == job.method() else method)
    query = (
        scored.with_only_columns(scored.selected_columns["by_method"], *columns, maintain_column_froms=True)
        .where(exact.c.job_id == job.id, exact.c.site == site)
        .order_by(exact.c.pair_index, exact.c.cell)
    )
    if every > 1:
        query = query.where(exact.c.pair_index % every == 0)
    graph = job_graph(session, job.id) if site == EDGE else None
    score, effect, inclusion, *numbers = read_numbers(
        session, query, len(columns) + 1, None if graph is None else graph.number_of
    )
    pair, column, place = (each.astype(np.int64) for each in numbers)
    if job.kind == "aligned" and len(pair):
        if not job.spans:
            tokens = token_counts(session, job, range(int(pair[0]), int(pair[-1]) + 1))
            lengths = np.zeros(int(pair[-1]) + 1, np.int64)
            lengths[list(tokens)] = list(tokens.values())
            column = lengths[pair] - 1 - column
        # The aligned axis is the second.
        first, index = np.divmod(place, inner)
        place = (first * axes[1] + column) * inner + index
    return Cells(score, effect, inclusion, pair, place)


def read_numbers(
    session: Session, query: Select[Any], width: int, last: Callable[[str], int] | None = None
) -> Sequence[NDArray[np.float64]]:
    """Return the columns of a query's rows as float64 arrays; `last` turns the last column into a number."""
    # Rows of SQLAlchemy's are slow to turn into an array, their numbers are not.
    with session.execute(query.execution_options(yield_per=_BATCH)) as rows:
        parts = [
            np.fromiter(
                itertools.chain.from_iterable(
                    part if last is None else ((*row[:-1], last(row[-1])) for row in part)
                ),
                np.float64,
            ).reshape(-1, width)
            for part in rows.partitions()
        ]
    return np.ascontiguousarray(np.concatenate([np.empty((0, width)), *parts]).T)  # type: ignore[return-value]


def _place(inner: int) -> ColumnElement[int]:
    """Return a cell's number `[layer(, inner)]`, without its position."""
    return exact.c.layer * inner + func.coalesce(*(exact.c[field] for field in INDEX_FIELDS), 0)


def _column(job: JobRecord) -> ColumnElement[int]:
    """Return a cell's position from 0, or the number of its span; 0 without positions."""
    if not job.spans:
        return func.coalesce(exact.c.position, 0)
    return case({name: number for number, name in enumerate((*job.spans, REST))}, value=exact.c.span, else_=0)
