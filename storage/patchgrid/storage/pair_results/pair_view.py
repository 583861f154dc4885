"""Everything that is kept of one pair."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select, Table, func, select
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.core.sites import SITES, short_name
from patchgrid.core.states import PairState
from patchgrid.core.types import Pair, place_spans
from patchgrid.storage import tables
from patchgrid.storage.chunks.chunk_result import ExactCell
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.chunks.naming import place_of_row
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.db.blobs import unpack
from patchgrid.storage.db.search import storable
from patchgrid.storage.errors import PairNotFound
from patchgrid.storage.jobs.jobs import JobRecord, pair_name
from patchgrid.storage.pair_results.exact_scores import with_scores

#: Most digits of a row's number.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class TopComponent:
    """One of a pair's components of largest |score|."""

    #: One of `SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Index within the layer, of its site's kind, or None; of an edge, its sender's head.
    index: int | None
    #: Score over all positions by the job's first method, metric units.
    score: float
    #: An edge's name, or None.
    edge: str | None = None

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`."""
        return short_name(self.site, self.layer, self.index, edge=self.edge)


@dataclass(frozen=True, slots=True, eq=False)
class PairView:
    """One pair: its input, its outcome and its scores."""

    #: Row number in the job.
    index: int
    #: The given id, else the row number.
    name: int | str
    #: The pair as it was given.
    pair: Pair
    #: `pending`, `done`, `failed` or `skipped`.
    state: str
    #: Why it failed, else None.
    error: str | None
    #: What the user should know though it was measured.
    warning: str | None
    #: The clean prompt's tokens as text.
    tokens: tuple[str, ...]
    #: The corrupted prompt's tokens as text.
    corrupted_tokens: tuple[str, ...]
    #: Metric of the unpatched clean run, or None.
    clean_metric: float | None
    #: Metric of the unpatched corrupted run, or None.
    corrupted_metric: float | None
    #: Tokens at the start of both prompts that stand before their texts (a BOS), or None: not known.
    prefix: int | None
    #: How far each unpatched run prefers the correct answers (`estimates.task`), or None.
    clean_preference: float | None
    corrupted_preference: float | None
    #: The answers' tokens as text, in the order of the answers; empty: not known.
    correct_tokens: tuple[str, ...]
    incorrect_tokens: tuple[str, ...]
    #: The method that `scores` are by.
    method: str
    #: Site to float32 `[layer(, inner)]` (detail `pairs`) or `[layer, position(, inner)]` (`positions`), for
    #: edges `[edge, position]`; empty: not kept.
    scores: Mapping[str, NDArray[np.float32]]
    #: The components of largest |score|, the largest first; by the job's first method, empty for another.
    top: tuple[TopComponent, ...]
    #: The pair's cells that were patched exactly, scored by `method`.
    exact: tuple[ExactCell, ...]
    #: How edges are numbered, where there are any.
    graph: Graph | None

    @property
    def spans(self) -> Mapping[str, tuple[int, int]]:
        """Named token ranges of the pair; empty without."""
        return place_spans(self.pair.spans, self.prefix or 0)


def pair(session: Session, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
    """Return one pair by its id, else by its row number; `PairNotFound` if the job has no such pair."""
    return _view(session, job, find_row(session, job, name), method)


def pair_at(session: Session, job: JobRecord, index: int, method: str | None = None) -> PairView:
    """Return the pair of a row, ignoring ids; `PairNotFound` if the job has fewer rows."""
    row = session.execute(_of_pair(tables.pair, job, index)).first()
    if row is None:
        raise PairNotFound(f"job {job.id} has no row {index}: out of range (0 to {job.pairs - 1})")
    return _view(session, job, row, method)


def _view(session: Session, job: JobRecord, row: Row[Any], method: str | None) -> PairView:
    chosen = job.method(method)
    first = chosen == job.method()
    index = row.pair_index
    done = session.execute(_of_pair(tables.outcome, job, index)).first()
    return PairView(
        index=index,
        name=pair_name(index, row.name),
        pair=read_pair(row),
        state=PairState.PENDING if done is None else PairState(done.state),
        error=None if done is None else done.error,
        warning=None if done is None else done.warning,
        tokens=() if done is None else tuple(done.tokens),
        corrupted_tokens=() if done is None else tuple(done.corrupted_tokens),
        clean_metric=None if done is None else done.clean_metric,
        corrupted_metric=None if done is None else done.corrupted_metric,
        prefix=None if done is None else done.prefix,
        clean_preference=None if done is None else done.clean_preference,
        corrupted_preference=None if done is None else done.corrupted_preference,
        correct_tokens=() if done is None else tuple(done.correct_tokens or ()),
        incorrect_tokens=() if done is None else tuple(done.incorrect_tokens or ()),
        method=chosen,
        scores=_scores(session, job, index, chosen),
        top=_top(session, job, index) if first else (),
        exact=_exact(session, job, index, None if first else chosen),
        graph=job_graph(session, job.id),
    )


def find_row(session: Session, job: JobRecord, name: int | str) -> Row[Any]:
    """Return a stored pair by its id, else by its row number; raises `PairNotFound`."""
    table, wanted_id = tables.pair, str(name)
    of_job = select(table).where(table.c.job_id == job.id)
    row = session.execute(of_job.where(table.c.name == wanted_id)).first() if storable(wanted_id) else None
    if row is None and wanted_id.isascii() and wanted_id.isdigit() and len(wanted_id) <= _DIGITS:
        row = session.execute(of_job.where(table.c.pair_index == int(wanted_id))).first()
    if row is None:
        raise PairNotFound(
            f"job {job.id} has no pair {name!r}: give an id from its file, or a row (0 to {job.pairs - 1})"
        )
    return row


def _of_pair(table: Table, job: JobRecord, index: int) -> Select[Any]:
    return select(table).where(table.c.job_id == job.id, table.c.pair_index == index)


def _scores(session: Session, job: JobRecord, index: int, method: str) -> dict[str, NDArray[np.float32]]:
    chunk = tables.chunk
    first = (
        select(func.max(chunk.c.first))
        .where(chunk.c.job_id == job.id, chunk.c.first <= index, chunk.c.round.is_(None))
        .scalar_subquery()
    )
    at = (chunk.c.job_id == job.id) & (chunk.c.first == first) & chunk.c.round.is_(None)
    chunk_id = session.scalar(select(chunk.c.id).where(at))
    by_site = chunk_scores(session, chunk_id, method)
    of_pair = {site: by_pair[index] for site, by_pair in by_site.items() if index in by_pair}
    return {site: of_pair[site] for site in SITES if site in of_pair}


def chunk_scores(
    session: Session, chunk_id: int | None, method: str
) -> dict[str, dict[int, NDArray[np.float32]]]:
    """Return the stored scores of a chunk by a method: site to pair index to array."""
    table = tables.scores
    rows = session.execute(
        select(table.c.site, table.c.data).where(table.c.chunk_id == chunk_id, table.c.method == method)
    )
    result = {}
    for site, data in rows:
        blob = unpack(data, f"the stored scores of chunk {chunk_id}, {site},")
        result[site] = dict(zip(blob.meta["pairs"], blob.arrays, strict=True))
    return result


def _top(session: Session, job: JobRecord, index: int) -> tuple[TopComponent, ...]:
    rows = session.execute(_of_pair(tables.top_component, job, index).order_by(tables.top_component.c.rank))
    return tuple(_top_component(row) for row in rows)


def _top_component(row: Row[Any]) -> TopComponent:
    place = place_of_row(row)
    return TopComponent(row.site, place.layer, place.index, row.score, place.edge)


def _exact(session: Session, job: JobRecord, index: int, further: str | None) -> tuple[ExactCell, ...]:
    """Return a pair's cells, scored by the job's first method or by a `further` one."""
    table = tables.exact
    of_pair = with_scores(further).where(table.c.job_id == job.id, table.c.pair_index == index)
    return tuple(
        ExactCell(
            row=row.pair_index,
            site=row.site,
            layer=place.layer,
            index=place.index,
            position=row.position,
            span=row.span,
            score=row.by_method,
            effect=row.effect,
            inclusion=row.inclusion,
            edge=place.edge,
        )
        for row in session.execute(of_pair.order_by(table.c.cell))
        for place in [place_of_row(row)]
    )
