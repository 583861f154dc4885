"""A job's results as plain rows, for files."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, and_, select
from sqlalchemy.orm import Session

from patchgrid.engine.names import HEAD_SITES, SITES, check_name
from patchgrid.storage import tables
from patchgrid.storage.components import ComponentRow, components
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs import JobRecord, pair_name
from patchgrid.storage.pairview import chunk_scores
from patchgrid.storage.writing import has_positions

#: What can be exported, with the fields of a row in order.
FIELDS = {
    "scores": ("pair", "site", "layer", "head", "neuron", "position", "score"),
    "exact": ("pair", "site", "layer", "head", "neuron", "position", "score", "effect", "inclusion"),
    "components": tuple(field.name for field in dataclasses.fields(ComponentRow)),
    "pairs": ("pair", "state", "error", "tokens", "clean_metric", "corrupted_metric"),
}


def export_rows(session: Session, job: JobRecord, what: str) -> Iterator[dict[str, Any]]:
    """Give rows with the fields of `FIELDS[what]`, in an order that depends on nothing but the job.

    Rows come by pair, then site (as in `names.SITES`), layer, head and position; memory stays bounded. `pair`
    is the given id, else the row number. A missing value is None. Raises `NothingKept` at once for what the
    job did not keep.
    """
    check_name("export", what, tuple(FIELDS))
    if what == "scores" and job.spec.detail == "summary":
        raise NothingKept(
            f"job {job.id} kept no scores of single pairs: run it with --detail pairs or positions"
        )
    if what == "exact" and job.spec.exact == 0:
        raise NothingKept(f"job {job.id} patched nothing exactly: run it with --exact above 0")
    rows = {"scores": _scores, "exact": _exact, "components": _components, "pairs": _pairs}[what]
    return rows(session, job)


def _components(session: Session, job: JobRecord) -> Iterator[dict[str, Any]]:
    return (dataclasses.asdict(row) for row in components(session, job))


def _pairs(session: Session, job: JobRecord) -> Iterator[dict[str, Any]]:
    pair, outcome = tables.pair, tables.outcome
    same = and_(outcome.c.job_id == pair.c.job_id, outcome.c.pair_index == pair.c.pair_index)
    fields = ("state", "error", "tokens", "clean_metric", "corrupted_metric")
    query = select(pair.c.pair_index, pair.c.name, *(outcome.c[field] for field in fields)).outerjoin(
        outcome, same
    )
    for first, last in _ranges(session, job):
        inside = pair.c.pair_index.between(first, last - 1)
        for row in session.execute(
            query.where(pair.c.job_id == job.id, inside).order_by(pair.c.pair_index)
        ).mappings():
            values = {field: row[field] for field in fields}
            if row["state"] is None:
                values |= {"state": "pending", "tokens": []}
            yield {"pair": pair_name(row["pair_index"], row["name"]), **values}


def _exact(session: Session, job: JobRecord) -> Iterator[dict[str, Any]]:
    table = tables.exact
    for first, last in _ranges(session, job):
        names = _names(session, job, first, last)
        inside = _inside(table, job, first, last)
        for row in session.execute(select(table).where(inside).order_by(table.c.pair_index, table.c.cell)):
            yield {
                "pair": names[row.pair_index],
                "site": row.site,
                "layer": row.layer,
                "head": row.head,
                "neuron": row.neuron,
                "position": row.position if row.span is None else row.span,
                "score": row.score,
                "effect": row.effect,
                "inclusion": row.inclusion,
            }


def _scores(session: Session, job: JobRecord) -> Iterator[dict[str, Any]]:
    for first, last in _ranges(session, job):
        chunk = tables.chunk
        of_chunk = select(chunk.c.id).where(chunk.c.job_id == job.id, chunk.c.first == first)
        by_site = chunk_scores(session, session.scalar(of_chunk))
        for index, name in _names(session, job, first, last).items():
            for site in SITES:
                if index in by_site.get(site, {}):
                    yield from _score_rows(name, site, by_site[site][index])


def _score_rows(name: int | str, site: str, scores: NDArray[np.float32]) -> Iterator[dict[str, Any]]:
    positioned, headed = has_positions(scores, site), site in HEAD_SITES
    if positioned and headed:
        scores = scores.transpose(0, 2, 1)
    layers = range(scores.shape[0])
    heads = range(scores.shape[1]) if headed else [None]
    positions = range(scores.shape[-1]) if positioned else [None]
    places = itertools.product(layers, heads, positions)
    for (layer, head, position), score in zip(places, scores.ravel().tolist(), strict=True):
        yield {
            "pair": name,
            "site": site,
            "layer": layer,
            "head": head,
            "neuron": None,
            "position": position,
            "score": score,
        }


def _ranges(session: Session, job: JobRecord) -> list[tuple[int, int]]:
    """Give the chunks' ranges of pairs: what is read at a time."""
    chunk = tables.chunk
    query = select(chunk.c.first, chunk.c.last).where(chunk.c.job_id == job.id).order_by(chunk.c.first)
    return [(first, last) for first, last in session.execute(query)]


def _names(session: Session, job: JobRecord, first: int, last: int) -> dict[int, int | str]:
    pair = tables.pair
    query = (
        select(pair.c.pair_index, pair.c.name)
        .where(_inside(pair, job, first, last))
        .order_by(pair.c.pair_index)
    )
    return {index: pair_name(index, given) for index, given in session.execute(query)}


def _inside(table: Table, job: JobRecord, first: int, last: int) -> Any:
    return and_(table.c.job_id == job.id, table.c.pair_index.between(first, last - 1))
