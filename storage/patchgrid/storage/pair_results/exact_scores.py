"""The exactly patched cells with their scores by a method."""

from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, func, select
from sqlalchemy.orm import Session

from patchgrid.core.sites import INDEX_FIELDS, short_name
from patchgrid.storage.chunks.chunk_result import ExactCell
from patchgrid.storage.chunks.naming import place_of_row
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.tables import exact, method_score, outcome


def with_scores(further: str | None) -> Select[Any]:
    """Select the cells with `by_method`, their score by one of their job's `further` methods.

    None: by the first, which is beside the effect.
    """
    if further is None:
        return select(exact, exact.c.score.label("by_method"))
    same = and_(
        method_score.c.job_id == exact.c.job_id,
        method_score.c.pair_index == exact.c.pair_index,
        method_score.c.cell == exact.c.cell,
        method_score.c.method == further,
    )
    return select(exact, method_score.c.score.label("by_method")).join(method_score, same)


def cell_name(cell: ExactCell, tokens: int | None) -> str:
    """Write a cell's name as all views do: with its span, or its position from the end of its tokens."""
    return short_name(cell.site, cell.layer, cell.index, _where(cell, tokens), cell.edge)


def _where(cell: Any, tokens: int | None) -> int | str | None:
    if cell.span is None and cell.position is not None and tokens is not None:
        return int(cell.position) - tokens
    span: str | None = cell.span
    return span


def token_counts(session: Session, job: JobRecord, indices: range) -> dict[int, int]:
    """Return the number of tokens of pairs, by row, used to count positions from the end."""
    if job.kind != "aligned" or not indices:
        return {}
    inside = outcome.c.pair_index.between(indices.start, indices.stop - 1)
    count = func.json_array_length(outcome.c.tokens)
    rows = session.execute(select(outcome.c.pair_index, count).where(outcome.c.job_id == job.id, inside))
    return {index: tokens for index, tokens in rows}  # noqa: C416


def tokens_of_cell() -> ColumnElement[int]:
    """Return the number of tokens of the pair of a cell in `exact`, as a column."""
    own = (outcome.c.job_id == exact.c.job_id) & (outcome.c.pair_index == exact.c.pair_index)
    return select(func.json_array_length(outcome.c.tokens)).where(own).correlate(exact).scalar_subquery()


def cell_fields(row: Row[Any], name: int | str, tokens: int | None) -> dict[str, Any]:
    """Return a cell: a row of `with_scores`, with its pair's name and number of tokens."""
    place = place_of_row(row)
    return {
        "pair": name,
        "component": short_name(row.site, place.layer, place.index, _where(row, tokens), place.edge),
        "site": row.site,
        "layer": row.layer,
        **{field: getattr(row, field) for field in INDEX_FIELDS},
        "position": row.position if row.span is None else row.span,
        "score": row.by_method,
        "effect": row.effect,
        "inclusion": row.inclusion,
        "edge": place.edge,
    }
