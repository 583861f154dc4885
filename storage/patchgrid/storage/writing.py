"""What a worker hands in for a chunk, and how it is written."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.engine.names import HEAD_SITES, SITES
from patchgrid.estimates import Sums
from patchgrid.storage import tables
from patchgrid.storage._bulk import insert_rows, texts_as_json
from patchgrid.storage.blobs import pack
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.sums import pack_sums

#: How many of a pair's components are kept as rows.
TOP = 5
_SITE_RANK = {site: rank for rank, site in enumerate(SITES)}


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


@dataclass(frozen=True, slots=True, eq=False)
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


def join_results(results: Sequence[ChunkResult]) -> ChunkResult:
    """Give the result of a chunk from those of its parts, which lie in order and are of one provenance."""
    if len({result.provenance.hash for result in results}) != 1:
        raise ValueError("results of one provenance, and at least one, can be joined")
    sums: dict[tuple[str, str], Sums] = {}
    scores: dict[str, list[NDArray[np.float32]]] = {}
    for result in results:
        for key, part in result.sums.items():
            sums[key] = sums[key] + part if key in sums else part
        for site, arrays in result.scores.items():
            scores.setdefault(site, []).extend(arrays)
    return ChunkResult(
        provenance=results[0].provenance,
        outcomes=[outcome for result in results for outcome in result.outcomes],
        sums=sums,
        scores=scores,
        exact=[cell for result in results for cell in result.exact],
        seconds=math.fsum(result.seconds for result in results),
    )


def write_result(session: Session, job_id: int, chunk_id: int, indices: range, result: ChunkResult) -> None:
    """Write all of a chunk's results; `indices` are the chunk's pairs."""
    if [outcome.index for outcome in result.outcomes] != list(indices):
        raise ValueError(f"a chunk of pairs {indices} must have their outcomes, in order")
    done = [outcome.index for outcome in result.outcomes if outcome.state == "done"]
    if any(len(arrays) != len(done) for arrays in result.scores.values()):
        raise ValueError("scores must be those of the done pairs, one array each")
    insert_rows(session, tables.outcome, [_outcome_row(job_id, outcome) for outcome in result.outcomes])
    kinds = result.sums.items()
    insert_rows(
        session, tables.sums, [(chunk_id, site, kind, job_id, pack_sums(s)) for (site, kind), s in kinds]
    )
    if done:
        blobs = [(site, pack(arrays, {"pairs": done})) for site, arrays in result.scores.items()]
        insert_rows(session, tables.scores, [(chunk_id, site, job_id, data) for site, data in blobs])
        insert_rows(session, tables.top_component, _top_rows(job_id, done, result.scores))
    spans: Sequence[str] = ()
    if any(cell.span is not None for cell in result.exact):
        spans = session.scalar(select(tables.job.c.spans).where(tables.job.c.id == job_id)) or ()
    insert_rows(session, tables.exact, _exact_rows(job_id, result.exact, spans))


def write_failed(session: Session, job_id: int, indices: range, error: str) -> None:
    """Write error rows for all these pairs."""
    outcomes = [PairOutcome(index, "failed", error) for index in indices]
    insert_rows(session, tables.outcome, [_outcome_row(job_id, outcome) for outcome in outcomes])


def sum_positions(array: NDArray[np.float32], site: str) -> NDArray[np.float32]:
    """Sum a pair's scores over positions, if they have them, to `[layer(, head)]`."""
    return array.sum(axis=1) if has_positions(array, site) else array


def has_positions(array: NDArray[np.float32], site: str) -> bool:
    """Tell whether a pair's scores at a site have a position axis."""
    return array.ndim == 2 + (site in HEAD_SITES)


def _outcome_row(job_id: int, outcome: PairOutcome) -> tuple[Any, ...]:
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
    )


def _float(value: float | None) -> float | None:
    """Give a plain float, None for NaN: SQLite has no NaN."""
    return None if value is None or math.isnan(value) else float(value)


def _exact_rows(job_id: int, cells: Sequence[ExactCell], spans: Sequence[str]) -> list[tuple[Any, ...]]:
    """Give the cells' rows, those of each pair numbered in the order of an export."""
    rank: dict[str | None, int] = {name: number for number, name in enumerate(spans)}

    def order(cell: ExactCell) -> tuple[int, ...]:
        return (
            cell.index,
            _SITE_RANK[cell.site],
            cell.layer,
            -1 if cell.head is None else cell.head,
            -1 if cell.neuron is None else cell.neuron,
            -1 if cell.position is None else cell.position,
            -1 if cell.span is None else rank.get(cell.span, len(rank)),
        )

    rows: list[tuple[Any, ...]] = []
    for index, group in itertools.groupby(sorted(cells, key=order), key=attrgetter("index")):
        rows += [_exact_row(job_id, int(index), number, cell) for number, cell in enumerate(group)]
    return rows


def _exact_row(job_id: int, index: int, number: int, cell: ExactCell) -> tuple[Any, ...]:
    # Drivers take plain numbers only, not NumPy's.
    return (
        job_id,
        index,
        number,
        cell.site,
        int(cell.layer),
        None if cell.head is None else int(cell.head),
        None if cell.neuron is None else int(cell.neuron),
        None if cell.position is None else int(cell.position),
        cell.span,
        float(cell.score),
        float(cell.effect),
        float(cell.inclusion),
    )


def _top_rows(
    job_id: int, indices: Sequence[int], scores: Mapping[str, Sequence[NDArray[np.float32]]]
) -> list[tuple[Any, ...]]:
    """Give each pair's components of largest |score| over all sites, ties to the first in order."""
    sites = [site for site in SITES if site in scores]
    if not sites:
        return []
    whole = {site: np.array([sum_positions(array, site) for array in scores[site]]) for site in sites}
    flat = np.concatenate([whole[site].reshape(len(indices), -1) for site in sites], axis=1)
    places = [place for site in sites for place in _places(site, whole[site].shape[1:])]
    size = np.abs(flat)
    best = np.sort(np.argpartition(-size, min(TOP, size.shape[1]) - 1, axis=1)[:, :TOP], axis=1)
    order = np.argsort(-np.take_along_axis(size, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    values = np.take_along_axis(flat, best, axis=1).astype(float).tolist()
    return [
        (job_id, index, rank, *places[column], value)
        for index, columns, row in zip(indices, best.tolist(), values, strict=True)
        for rank, (column, value) in enumerate(zip(columns, row, strict=True))
    ]


@lru_cache(maxsize=64)
def _places(site: str, axes: tuple[int, ...]) -> list[tuple[str, int, int | None, None]]:
    """Give the site, layer, head and neuron of each of a site's components."""
    return [(site, place[0], place[1] if len(place) > 1 else None, None) for place in np.ndindex(axes)]
