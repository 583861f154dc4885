"""The exactly patched cells with their scores by a method."""

from typing import Any

from sqlalchemy import Row, Select, and_, select

from patchgrid.storage.tables import exact, method_score


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


def cell_fields(row: Row[Any], name: int | str) -> dict[str, Any]:
    """Give what is told of a cell: a row of `with_scores`, with its pair's name."""
    return {
        "pair": name,
        "site": row.site,
        "layer": row.layer,
        "head": row.head,
        "neuron": row.neuron,
        "position": row.position if row.span is None else row.span,
        "score": row.by_method,
        "effect": row.effect,
        "inclusion": row.inclusion,
        "edge": row.edge,
    }
