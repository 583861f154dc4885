"""A chunk's results written to the database."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.graph import Graph
from patchgrid.core.sites import WIDE_SITES
from patchgrid.storage import tables
from patchgrid.storage.chunks.checksums import chunk_seal, in_order
from patchgrid.storage.chunks.chunk_result import (
    ChunkResult,
    PairOutcome,
    RoundResult,
    Scored,
    ScoresBySite,
    summarize_outcomes,
)
from patchgrid.storage.chunks.naming import has_positions
from patchgrid.storage.chunks.rows import exact_rows, outcome_row, task_rows, top_rows
from patchgrid.storage.chunks.sums import pack_sums
from patchgrid.storage.db.blobs import pack
from patchgrid.storage.db.bulk import Rows, insert_rows

#: About what a row takes beside its texts, and a token beside its letters.
_BYTES_OF_ROW, _BYTES_OF_TOKEN = 80, 4


def write_chunk(session: Session, row: Sequence[Any], results: Sequence[Rows]) -> None:
    """Write the results of a chunk that was just finished, and a checksum of them and of its row."""
    insert_rows(session, *results, chunk_seal(row, results))


def result_rows(
    session: Session, job_id: int, chunk_id: int, indices: range, result: ChunkResult
) -> list[Rows]:
    """Return the rows of a chunk's results; `indices` are the chunk's pairs."""
    if [outcome.index for outcome in result.outcomes] != list(indices):
        raise ValueError(f"a chunk of pairs {indices} must have their outcomes, in order")
    if result.round is not None:
        return _round_rows(session, job_id, chunk_id, result, result.round)
    done = [outcome.index for outcome in result.outcomes if outcome.state == "done"]
    by_method = list(_by_method(result))
    if any(len(arrays) != len(done) for _, part in by_method for arrays in part.scores.values()):
        raise ValueError("scores must be those of the done pairs, one array each")
    parts: list[Rows] = [(tables.outcome, [outcome_row(job_id, each) for each in result.outcomes])]
    task = task_rows(job_id, chunk_id, summarize_outcomes(result.outcomes))
    parts.append((tables.task, task))
    for method, part in by_method:
        parts.append((tables.sums, _sums_rows(job_id, chunk_id, method, part)))
        parts.append((tables.scores, _blob_rows(job_id, chunk_id, done, method, part.scores)))
    graph = None if result.provenance.graph is None else Graph.from_dict(result.provenance.graph)
    if done:
        parts.append((tables.top_component, top_rows(job_id, done, result.scores, graph)))
    return in_order([*parts, *_patched_rows(session, job_id, chunk_id, result, graph)])


def _round_rows(
    session: Session, job_id: int, chunk_id: int, result: ChunkResult, later: RoundResult
) -> list[Rows]:
    """Return the rows of a later round's chunk: its pairs have their scores and outcomes already."""
    graph = None if result.provenance.graph is None else Graph.from_dict(result.provenance.graph)
    parts: list[Rows] = [
        (tables.sums, _sums_rows(job_id, chunk_id, method, part)) for method, part in _by_method(result)
    ]
    race = [
        (chunk_id, site, job_id, pack([sums.ravel()], {"axes": list(sums.shape)}))
        for site, sums in later.race.items()
    ]
    parts += [(tables.race, race), *_patched_rows(session, job_id, chunk_id, result, graph)]
    return in_order(parts)


def _sums_rows(job_id: int, chunk_id: int, method: str, part: Scored) -> list[tuple[Any, ...]]:
    return [(chunk_id, *key, method, job_id, pack_sums(sums)) for key, sums in part.sums.items()]


def _patched_rows(
    session: Session, job_id: int, chunk_id: int, result: ChunkResult, graph: Graph | None
) -> list[Rows]:
    """Return the rows of the cells that were patched, and of what that took."""
    spans: Sequence[str] = ()
    if any(cell.span is not None for cell in result.exact):
        spans = session.scalar(select(tables.job.c.spans).where(tables.job.c.id == job_id)) or ()
    later = result.round or RoundResult(0)
    cells, scores = exact_rows(
        job_id,
        result.exact,
        spans,
        graph,
        result.methods[1:],
        round_=later.number or None,
        taken=later.taken,
    )
    cost = [(chunk_id, method, job_id, float(seconds)) for method, seconds in result.cost.items()]
    parts: list[Rows] = [(tables.exact, cells), (tables.method_score, scores), (tables.cost, cost)]
    if result.rounding.cells:
        own = (chunk_id, job_id, result.rounding.cells, result.rounding.squares)
        parts.append((tables.rounding, [own]))
    return parts


def size_of(result: ChunkResult) -> int:
    """Estimate the size of a chunk's results in bytes, without the database's overhead."""
    numbers = 0
    for _, scored in _by_method(result):
        numbers += sum(sums.values.nbytes for sums in scored.sums.values())
        for site, arrays in scored.scores.items():
            if arrays and _is_kept(site, arrays[0]):
                numbers += sum(array.nbytes for array in arrays)
    tokens = [tokens for outcome in result.outcomes for tokens in (outcome.tokens, outcome.corrupted_tokens)]
    texts = sum(len("".join(each)) + _BYTES_OF_TOKEN * len(each) for each in tokens)
    rows = len(result.outcomes) + len(result.exact) * len(result.methods)
    return numbers + texts + rows * _BYTES_OF_ROW


def failed_rows(job_id: int, indices: range, error: str) -> list[Rows]:
    """Return an error row for each of these pairs."""
    outcomes = [PairOutcome(index, "failed", error) for index in indices]
    return [(tables.outcome, [outcome_row(job_id, outcome) for outcome in outcomes])]


def _by_method(result: ChunkResult) -> Iterator[tuple[str, Scored]]:
    yield result.methods[0], Scored(result.sums, result.scores)
    yield from result.others.items()


def _blob_rows(
    job_id: int, chunk_id: int, done: Sequence[int], method: str, scores: ScoresBySite
) -> list[tuple[Any, ...]]:
    return [
        (chunk_id, site, method, job_id, pack(arrays, {"pairs": done}))
        for site, arrays in scores.items()
        if arrays and _is_kept(site, arrays[0])
    ]


def _is_kept(site: str, scores: NDArray[np.float32]) -> bool:
    """Tell whether a site's scores are stored as they are; of very many components the largest alone are."""
    return site not in WIDE_SITES or has_positions(scores, site)
