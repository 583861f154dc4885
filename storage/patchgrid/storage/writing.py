"""What a worker hands in for a chunk, and how it is written."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from patchgrid.engine.names import HEAD_SITES, SITES
from patchgrid.estimates import Sums
from patchgrid.storage import tables
from patchgrid.storage.blobs import pack
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.sums import pack_sums

#: How many of a pair's components are kept as rows.
TOP = 5


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What became of one pair."""

    #: Row number in the job.
    index: int
    #: `done` or `failed`.
    state: str
    #: Why it failed, else None.
    error: str | None = None
    #: What the user should know though it was measured.
    warning: str | None = None
    #: The clean prompt's tokens as text.
    tokens: tuple[str, ...] = ()
    #: The corrupted prompt's tokens as text.
    corrupted_tokens: tuple[str, ...] = ()
    #: Metric of the unpatched clean run, None where the pair failed.
    clean_metric: float | None = None
    #: Metric of the unpatched corrupted run.
    corrupted_metric: float | None = None


@dataclass(frozen=True, slots=True)
class ExactCell:
    """One component of one pair that was patched exactly."""

    #: Row number of the pair in the job.
    index: int
    #: One of `names.SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Head within the layer, or None.
    head: int | None
    #: Neuron within the layer, or None.
    neuron: int | None
    #: Index into the pair's own tokens from 0, or None: all positions at once, or a span.
    position: int | None
    #: Name of the span that was patched, or None.
    span: str | None
    #: Attribution score, metric units.
    score: float
    #: Exact effect, metric units.
    effect: float
    #: Probability with which the cell was drawn, above 0 and up to 1.
    inclusion: float


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """All that is stored of a chunk."""

    #: What made the numbers.
    provenance: Provenance
    #: One for each pair of the chunk, in order.
    outcomes: Sequence[PairOutcome]
    #: (site, kind) to the sums over the chunk's done pairs.
    sums: Mapping[tuple[str, str], Sums]
    #: Site to one float32 array for each *done* pair, in order: `[layer(, head)]` (detail `pairs`) or
    #: `[layer, position(, head)]` (detail `positions`); empty for `summary`.
    scores: Mapping[str, Sequence[NDArray[np.float32]]] = field(default_factory=dict)
    #: Cells patched exactly, in any order.
    exact: Sequence[ExactCell] = ()
    #: Seconds the chunk took to compute.
    seconds: float = 0.0


def write_result(session: Session, job_id: int, chunk_id: int, indices: range, result: ChunkResult) -> None:
    """Write all of a chunk's results; `indices` are the chunk's pairs."""
    if [outcome.index for outcome in result.outcomes] != list(indices):
        raise ValueError(f"a chunk of pairs {indices} cannot have other outcomes than theirs, in order")
    done = [outcome.index for outcome in result.outcomes if outcome.state == "done"]
    if any(len(arrays) != len(done) for arrays in result.scores.values()):
        raise ValueError("scores must be those of the done pairs")
    key = {"job_id": job_id, "chunk_id": chunk_id}
    _insert(session, tables.outcome, [_outcome_row(job_id, outcome) for outcome in result.outcomes])
    _insert(
        session,
        tables.sums,
        [key | {"site": site, "kind": kind, "data": pack_sums(s)} for (site, kind), s in result.sums.items()],
    )
    if done:
        blobs = {site: pack(arrays, {"pairs": done}) for site, arrays in result.scores.items()}
        _insert(session, tables.scores, [key | {"site": site, "data": data} for site, data in blobs.items()])
        _insert(session, tables.top_component, _top_rows(job_id, done, result.scores))
    spans = session.scalar(select(tables.job.c.spans).where(tables.job.c.id == job_id))
    _insert(session, tables.exact, _exact_rows(job_id, result.exact, spans or []))


def write_failed(session: Session, job_id: int, indices: range, error: str) -> None:
    """Write error rows for all these pairs."""
    outcomes = [PairOutcome(index, "failed", error) for index in indices]
    _insert(session, tables.outcome, [_outcome_row(job_id, outcome) for outcome in outcomes])


def _insert(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.execute(table.insert(), rows)


def _outcome_row(job_id: int, outcome: PairOutcome) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "pair_index": outcome.index,
        "state": outcome.state,
        "error": outcome.error,
        "warning": outcome.warning,
        "tokens": outcome.tokens,
        "corrupted_tokens": outcome.corrupted_tokens,
        "clean_metric": _float(outcome.clean_metric),
        "corrupted_metric": _float(outcome.corrupted_metric),
    }


def _float(value: float | None) -> float | None:
    """Give a plain float, None for NaN: SQLite has no NaN."""
    return None if value is None or math.isnan(value) else float(value)


def _exact_rows(job_id: int, cells: Sequence[ExactCell], spans: Sequence[str]) -> list[dict[str, Any]]:
    """Give the cells' rows, those of each pair numbered in the order of an export."""
    span_rank = {name: rank for rank, name in enumerate(spans)}

    def order(cell: ExactCell) -> tuple[int, ...]:
        optional = (cell.head, cell.neuron, cell.position)
        place = (-1 if value is None else value for value in optional)
        span = -1 if cell.span is None else span_rank.get(cell.span, len(spans))
        return (cell.index, SITES.index(cell.site), cell.layer, *place, span)

    rows: list[dict[str, Any]] = []
    for index, group in itertools.groupby(sorted(cells, key=order), key=lambda cell: cell.index):
        rows += [_exact_row(job_id, index, number, cell) for number, cell in enumerate(group)]
    return rows


def _exact_row(job_id: int, index: int, number: int, cell: ExactCell) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "pair_index": int(index),
        "cell": number,
        "site": cell.site,
        "layer": int(cell.layer),
        "head": _int(cell.head),
        "neuron": _int(cell.neuron),
        "position": _int(cell.position),
        "span": cell.span,
        "score": float(cell.score),
        "effect": float(cell.effect),
        "inclusion": float(cell.inclusion),
    }


def _int(value: int | None) -> int | None:
    return None if value is None else int(value)


def _top_rows(
    job_id: int, indices: Sequence[int], scores: Mapping[str, Sequence[NDArray[np.float32]]]
) -> list[dict[str, Any]]:
    """Give each pair's components of largest |score| over all sites, ties to the first in order."""
    sites = [site for site in SITES if site in scores]
    if not sites:
        return []
    whole = {site: np.stack([sum_positions(array, site) for array in scores[site]]) for site in sites}
    flat = np.concatenate([whole[site].reshape(len(indices), -1) for site in sites], axis=1)
    places = [(site, *place) for site in sites for place in np.ndindex(whole[site].shape[1:])]
    size = np.abs(flat)
    best = np.sort(np.argpartition(-size, min(TOP, size.shape[1]) - 1, axis=1)[:, :TOP], axis=1)
    rows = []
    for row, (index, columns) in enumerate(zip(indices, best, strict=True)):
        for rank, column in enumerate(columns[np.argsort(-size[row, columns], kind="stable")]):
            site, layer, *head = places[column]
            where = {"site": site, "layer": layer, "head": head[0] if head else None, "neuron": None}
            key = {"job_id": job_id, "pair_index": index, "rank": rank}
            rows.append(key | where | {"score": float(flat[row, column])})
    return rows


def sum_positions(array: NDArray[np.float32], site: str) -> NDArray[np.float32]:
    """Sum a pair's scores over positions, if they have them, to `[layer(, head)]`."""
    return array.sum(axis=1) if has_positions(array, site) else array


def has_positions(array: NDArray[np.float32], site: str) -> bool:
    """Tell whether a pair's scores at a site have a position axis."""
    return array.ndim == 2 + (site in HEAD_SITES)
