"""The scores of single pairs as rows, and what is read of a job at a time."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, and_, select
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.core.sites import SITES, WIDE_SITES, index_fields, short_name
from patchgrid.storage import tables
from patchgrid.storage.chunks.naming import Place, has_inner, has_positions, indexed, place_of_row
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.jobs.jobs import JobRecord, pair_name
from patchgrid.storage.pair_results.pair_view import chunk_scores

_Row = dict[str, Any]


def read_scores(session: Session, job: JobRecord, method: str, indices: range) -> Iterator[_Row]:
    """Return the stored scores of a chunk's pairs by a method as rows.

    By pair, site, layer, head and position; those of a very large site that was kept in part, largest first.
    """
    graph = job_graph(session, job.id)
    chunk = tables.chunk
    of_chunk = (
        select(chunk.c.id)
        .where(chunk.c.job_id == job.id, chunk.c.first <= indices.start, chunk.c.round.is_(None))
        .order_by(chunk.c.first.desc())
        .limit(1)
    )
    by_site = chunk_scores(session, session.scalar(of_chunk), method)
    largest = _largest(session, job, method, indices, whole_sites=by_site.keys())
    return _rows_of(pair_names(session, job, indices), by_site, largest, graph)


def _rows_of(
    names: Mapping[int, int | str],
    by_site: Mapping[str, Mapping[int, NDArray[np.float32]]],
    largest: Mapping[tuple[int, str], Sequence[tuple[Place, float]]],
    graph: Graph | None,
) -> Iterator[_Row]:
    for index, name in names.items():
        for site in SITES:
            if index in by_site.get(site, {}):
                yield from _score_rows(name, site, by_site[site][index], graph)
            for place, score in largest.get((index, site), ()):
                yield _row(name, site, place, None, score)


def _largest(
    session: Session, job: JobRecord, method: str, indices: range, *, whole_sites: Any
) -> dict[tuple[int, str], list[tuple[Place, float]]]:
    """Return each pair's largest scores at the very large sites that are not stored whole."""
    sites = [site for site in job.spec.query.sites if site in WIDE_SITES and site not in whole_sites]
    by_pair: dict[tuple[int, str], list[tuple[Place, float]]] = {}
    if not sites or method != job.method():
        return by_pair
    table = tables.top_component
    rows = select(table).where(inside_of(table, job, indices), table.c.site.in_(sites))
    for row in session.execute(rows.order_by(table.c.pair_index, table.c.rank)):
        by_pair.setdefault((row.pair_index, row.site), []).append((place_of_row(row), row.score))
    return by_pair


def _score_rows(
    name: int | str, site: str, scores: NDArray[np.float32], graph: Graph | None
) -> Iterator[_Row]:
    positioned = has_positions(scores, site)
    if positioned and has_inner(site):
        scores = scores.transpose(0, 2, 1)
    axes = scores.shape[:-1] if positioned else scores.shape
    tokens = scores.shape[-1] if positioned else 0
    positions = range(tokens) if positioned else [None]
    places = itertools.product(np.ndindex(axes), positions)
    for (index, position), score in zip(places, scores.ravel().tolist(), strict=True):
        yield _row(name, site, indexed(site, index, graph), position, score, tokens)


@lru_cache(maxsize=1 << 16)
def _stem(site: str, place: Place) -> str:
    return short_name(site, place.layer, place.index, edge=place.edge)


def _row(
    name: int | str, site: str, place: Place, position: int | None, score: float, tokens: int = 0
) -> _Row:
    stem = _stem(site, place)
    return {
        "pair": name,
        "component": stem if position is None else f"{stem}@{position - tokens}",
        "site": site,
        "layer": place.layer,
        **index_fields(site, place.index),
        "position": position,
        "score": score,
        "edge": place.edge,
    }


def pair_names(session: Session, job: JobRecord, indices: range) -> dict[int, int | str]:
    """Return the names of some pairs by row number."""
    pair = tables.pair
    query = (
        select(pair.c.pair_index, pair.c.name)
        .where(inside_of(pair, job, indices))
        .order_by(pair.c.pair_index)
    )
    return {index: pair_name(index, own_id) for index, own_id in session.execute(query)}


def inside_of(table: Table, job: JobRecord, indices: range) -> Any:
    """Return the condition that a row belongs to one of these pairs."""
    return and_(table.c.job_id == job.id, table.c.pair_index.between(indices.start, indices.stop - 1))
