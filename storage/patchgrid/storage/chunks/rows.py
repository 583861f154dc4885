"""The rows that a chunk's results are written as, columns in the tables' order."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.graph import Graph
from patchgrid.core.sites import SITES, WIDE_SITES
from patchgrid.estimates import TaskSummary
from patchgrid.storage import tables
from patchgrid.storage.chunks.chunk_result import ExactCell, PairOutcome
from patchgrid.storage.chunks.naming import component_values, indexed, sum_positions
from patchgrid.storage.db.bulk import as_json, texts_as_json

#: How many of a pair's components are kept as rows, over all sites but the very large ones.
TOP = 5
#: How many more of each very large site.
TOP_WIDE = 20
_SITE_RANK = {site: rank for rank, site in enumerate(SITES)}

_Row = tuple[Any, ...]
#: A pair's component: score, and the values of `component_columns`.
_Top = tuple[float, _Row]


def outcome_row(job_id: int, outcome: PairOutcome) -> _Row:
    """Return a pair's row."""
    return (
        job_id,
        outcome.index,
        outcome.state,
        outcome.error,
        outcome.warning,
        texts_as_json(outcome.tokens),
        texts_as_json(outcome.corrupted_tokens),
        _float(outcome.clean_metric),
        _float(outcome.corrupted_metric),
        outcome.prefix,
        _float(outcome.clean_preference),
        _float(outcome.corrupted_preference),
        texts_as_json(outcome.correct_tokens) if outcome.correct_tokens else None,
        texts_as_json(outcome.incorrect_tokens) if outcome.incorrect_tokens else None,
    )


def task_rows(job_id: int, chunk_id: int, summary: TaskSummary) -> list[_Row]:
    """Return a chunk's row of the table `task`; none if nothing was measured."""
    if not summary.pairs and not summary.outside_vocabulary:
        return []
    values = (getattr(summary, column.name) for column in tables.task.columns[2:])
    return [(chunk_id, job_id, *(as_json(each) if isinstance(each, tuple) else each for each in values))]


def _float(value: float | None) -> float | None:
    """Return a plain float, None for NaN: SQLite has no NaN."""
    return None if value is None or math.isnan(value) else float(value)


def exact_rows(
    job_id: int,
    cells: "Sequence[ExactCell]",
    spans: Sequence[str],
    graph: Graph | None,
    further: Sequence[str],
    *,
    round_: int | None = None,
    taken: Mapping[int, int] = MappingProxyType({}),
) -> tuple[list[_Row], list[_Row]]:
    """Return the cells' rows, each pair's numbered in export order, and those of `further` methods.

    In a later round (`round_`) numbers begin behind those that were `taken` before, by pair.
    """
    rank: dict[str | None, int] = {name: number for number, name in enumerate(spans)}

    def order(cell: ExactCell) -> tuple[int, ...]:
        return (
            cell.row,
            _SITE_RANK[cell.site],
            cell.layer if cell.edge is None or graph is None else graph.number_of(cell.edge),
            -1 if cell.index is None else cell.index,
            -1 if cell.position is None else cell.position,
            -1 if cell.span is None else rank.get(cell.span, len(rank)),
        )

    rows: list[_Row] = []
    scores: list[_Row] = []
    for index, group in itertools.groupby(sorted(cells, key=order), key=attrgetter("row")):
        for number, cell in enumerate(group, taken.get(int(index), 0)):
            rows.append((*_exact_row(job_id, int(index), number, cell), round_))
            if further or cell.others:
                scores += [
                    (job_id, int(index), number, method, float(score), round_)
                    for method, score in zip(further, cell.others, strict=True)
                ]
    return rows, scores


def _exact_row(job_id: int, index: int, number: int, cell: ExactCell) -> _Row:
    # Drivers take plain numbers only, not NumPy's.
    return (
        job_id,
        index,
        number,
        *component_values(
            cell.site, int(cell.layer), None if cell.index is None else int(cell.index), cell.edge
        ),
        None if cell.position is None else int(cell.position),
        cell.span,
        float(cell.score),
        float(cell.effect),
        float(cell.inclusion),
    )


def top_rows(
    job_id: int,
    indices: Sequence[int],
    scores: Mapping[str, Sequence[NDArray[np.float32]]],
    graph: Graph | None,
) -> list[_Row]:
    """Return each pair's components of largest |score|, ties to the first in order.

    `TOP` over all sites but the very large ones, and `TOP_WIDE` of each of these; the largest first.
    """
    narrow = [site for site in SITES if site in scores and site not in WIDE_SITES]
    wide = [site for site in WIDE_SITES if site in scores]
    groups = [([site], TOP_WIDE) for site in wide]
    if narrow:
        groups.insert(0, (narrow, TOP))
    if not groups:
        return []
    by_group = [_largest(scores, sites, count, graph) for sites, count in groups]
    rows: list[_Row] = []
    for index, *parts in zip(indices, *by_group, strict=True):
        best = parts[0]
        if len(parts) > 1:
            best = sorted(itertools.chain(*parts), key=lambda one: -abs(one[0]))
        rows += [(job_id, index, rank, *component, score) for rank, (score, component) in enumerate(best, 1)]
    return rows


def _largest(
    scores: Mapping[str, Sequence[NDArray[np.float32]]],
    sites: Sequence[str],
    count: int,
    graph: Graph | None,
) -> list[list[_Top]]:
    """Return each pair's `count` largest components over some sites."""
    whole = {site: np.array([sum_positions(array, site) for array in scores[site]]) for site in sites}
    flat = np.concatenate([whole[site].reshape(len(whole[site]), -1) for site in sites], axis=1)
    size = np.abs(flat)
    best = np.sort(np.argpartition(-size, min(count, size.shape[1]) - 1, axis=1)[:, :count], axis=1)
    order = np.argsort(-np.take_along_axis(size, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    values = np.take_along_axis(flat, best, axis=1).astype(float).tolist()
    name = _names(tuple((site, whole[site].shape[1:]) for site in sites), graph)
    return [
        [(value, name(column)) for column, value in zip(columns, row, strict=True)]
        for columns, row in zip(best.tolist(), values, strict=True)
    ]


@lru_cache(maxsize=64)
def _names(axes: tuple[tuple[str, tuple[int, ...]], ...], graph: Graph | None) -> Callable[[int], _Row]:
    """Return a function from a component's number, counted over some sites, to its values in a row."""
    first = {}
    start = 0
    for site, shape in axes:
        first[start] = site, shape
        start += math.prod(shape)

    @lru_cache(maxsize=1 << 14)
    def name(number: int) -> _Row:
        begin = max(begin for begin in first if begin <= number)
        site, shape = first[begin]
        place = indexed(site, [int(along) for along in np.unravel_index(number - begin, shape)], graph)
        return component_values(site, place.layer, place.index, place.edge)

    return name
