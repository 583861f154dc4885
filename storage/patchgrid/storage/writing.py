"""What a worker hands in for a chunk, and how it is written."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.engine.edges import Graph
from patchgrid.engine.errors import OUTSIDE_VOCABULARY
from patchgrid.engine.names import WIDE_SITES
from patchgrid.estimates import Rounding, Sums, TaskSummary, summarize_task
from patchgrid.estimates.task import NAMED
from patchgrid.storage import _rows, tables
from patchgrid.storage._bulk import insert_rows
from patchgrid.storage.blobs import pack
from patchgrid.storage.checksums import Rows, in_order
from patchgrid.storage.naming import has_positions
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.sums import pack_sums

#: (site, kind) to the sums over a chunk's done pairs.
SumsBySite = Mapping[tuple[str, str], Sums]
#: Site to one float32 array for each *done* pair, in order: `[layer(, inner)]` (detail `pairs`) or `[layer,
#: position(, inner)]` (detail `positions`); for edges `[edge]` and `[edge, position]`.
ScoresBySite = Mapping[str, Sequence[NDArray[np.float32]]]


#: About what a row takes beside its texts, and a token beside its letters.
_BYTES_OF_ROW, _BYTES_OF_TOKEN = 80, 4


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What became of one pair."""

    #: Row number in the job.
    index: int
    #: `done`, `failed`, or `skipped`: the model does not get it right, and the job wants only such pairs.
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
    #: Tokens at the start of both prompts that stand before their texts (a BOS), None where the pair failed.
    prefix: int | None = None
    #: How far the unpatched clean run prefers the correct answers, as `estimates.task` defines it.
    clean_preference: float | None = None
    #: How far the unpatched corrupted run does.
    corrupted_preference: float | None = None
    #: The correct answers' tokens as text, in order.
    correct_tokens: tuple[str, ...] = ()
    #: The incorrect answers' tokens as text.
    incorrect_tokens: tuple[str, ...] = ()


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
    #: Score by the job's first method, metric units.
    score: float
    #: Exact effect, metric units.
    effect: float
    #: Probability with which the cell was drawn, above 0 and up to 1.
    inclusion: float
    #: An edge's name, or None.
    edge: str | None = None
    #: Scores by the job's further methods, in their order.
    others: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A chunk by one of its job's further methods."""

    #: As `ChunkResult.sums`.
    sums: SumsBySite
    #: As `ChunkResult.scores`.
    scores: ScoresBySite = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ChunkResult:
    """All that is stored of a chunk."""

    #: What made the numbers.
    provenance: Provenance
    #: One for each pair of the chunk, in order.
    outcomes: Sequence[PairOutcome]
    #: The sums by the job's first method.
    sums: SumsBySite
    #: The scores by the job's first method; empty for detail `summary`. Of sites with very many components
    #: only each pair's largest are written, unless they come by position.
    scores: ScoresBySite = field(default_factory=dict)
    #: Cells patched exactly, in any order.
    exact: Sequence[ExactCell] = ()
    #: Seconds the chunk took to compute.
    seconds: float = 0.0
    #: How scores were made, the first way first.
    methods: tuple[str, ...] = ("atp",)
    #: What each further method gave.
    others: Mapping[str, Scored] = field(default_factory=dict)
    #: Method to the seconds that its scores took; `shared` and `exact` as in the table `cost`.
    cost: Mapping[str, float] = field(default_factory=dict)
    #: Effects of patches that are nothing but rounding.
    rounding: Rounding = field(default_factory=Rounding)


def join_results(results: Sequence[ChunkResult]) -> ChunkResult:
    """Give the result of a chunk from those of its parts, which lie in order and are of one provenance."""
    if len({result.provenance.hash for result in results}) != 1:
        raise ValueError("results of one provenance, and at least one, can be joined")
    methods = results[0].methods
    first = _join([(result.sums, result.scores) for result in results])
    others = {
        method: _join(
            [(part.others[method].sums, part.others[method].scores) for part in results if part.others]
        )
        for method in methods[1:]
    }
    cost: defaultdict[str, float] = defaultdict(float)
    for name, taken in itertools.chain.from_iterable(result.cost.items() for result in results):
        cost[name] += taken
    return ChunkResult(
        provenance=results[0].provenance,
        outcomes=[outcome for result in results for outcome in result.outcomes],
        sums=first.sums,
        scores=first.scores,
        exact=[cell for result in results for cell in result.exact],
        seconds=math.fsum(result.seconds for result in results),
        methods=methods,
        others=others,
        cost=dict(cost),
        rounding=sum((result.rounding for result in results), Rounding()),
    )


def _join(parts: Sequence[tuple[SumsBySite, ScoresBySite]]) -> Scored:
    sums: dict[tuple[str, str], Sums] = {}
    scores: dict[str, list[NDArray[np.float32]]] = {}
    for part_sums, part_scores in parts:
        for key, part in part_sums.items():
            sums[key] = sums[key] + part if key in sums else part
        for site, arrays in part_scores.items():
            scores.setdefault(site, []).extend(arrays)
    return Scored(sums, scores)


def summarize_outcomes(outcomes: Sequence[PairOutcome]) -> TaskSummary:
    """Summarize what the unpatched runs of a chunk's pairs prefer; pairs are named by their row numbers."""
    known = [outcome for outcome in outcomes if outcome.state != "failed"]
    outside = [outcome.index for outcome in outcomes if OUTSIDE_VOCABULARY in (outcome.error or "")]
    summary = summarize_task(
        [outcome.index for outcome in known],
        np.array([outcome.clean_metric for outcome in known], np.float64),
        np.array([outcome.corrupted_metric for outcome in known], np.float64),
        np.array([outcome.clean_preference for outcome in known], np.float64),
        np.array([outcome.corrupted_preference for outcome in known], np.float64),
        [outcome.state == "done" for outcome in known],
    )
    return summary + TaskSummary(outside_vocabulary=len(outside), outside_pairs=tuple(outside[:NAMED]))


def write_result(
    session: Session, job_id: int, chunk_id: int, indices: range, result: ChunkResult
) -> list[Rows]:
    """Write all of a chunk's results; `indices` are the chunk's pairs. Give the rows, for their checksum."""
    if [outcome.index for outcome in result.outcomes] != list(indices):
        raise ValueError(f"a chunk of pairs {indices} must have their outcomes, in order")
    done = [outcome.index for outcome in result.outcomes if outcome.state == "done"]
    by_method = list(_by_method(result))
    if any(len(arrays) != len(done) for _, part in by_method for arrays in part.scores.values()):
        raise ValueError("scores must be those of the done pairs, one array each")
    written: list[Rows] = [(tables.outcome, [_rows.outcome_row(job_id, each) for each in result.outcomes])]
    task = _rows.task_rows(job_id, chunk_id, summarize_outcomes(result.outcomes))
    written.append((tables.task, task))
    for method, part in by_method:
        sums = [(chunk_id, *key, job_id, pack_sums(each), method) for key, each in part.sums.items()]
        written.append((tables.sums, sums))
        written.append((tables.scores, _blob_rows(job_id, chunk_id, done, method, part.scores)))
    graph = None if result.provenance.graph is None else Graph.from_dict(result.provenance.graph)
    if done:
        written.append((tables.top_component, _rows.top_rows(job_id, done, result.scores, graph)))
    spans: Sequence[str] = ()
    if any(cell.span is not None for cell in result.exact):
        spans = session.scalar(select(tables.job.c.spans).where(tables.job.c.id == job_id)) or ()
    cells, scores = _rows.exact_rows(job_id, result.exact, spans, graph, result.methods[1:])
    written += [(tables.exact, cells), (tables.method_score, scores)]
    cost = [(chunk_id, method, job_id, float(seconds)) for method, seconds in result.cost.items()]
    written.append((tables.cost, cost))
    if result.rounding.cells:
        own = (chunk_id, job_id, result.rounding.cells, result.rounding.squares)
        written.append((tables.rounding, [own]))
    written = in_order(written)
    for table, rows in written:
        insert_rows(session, table, rows)
    return written


def size_of(result: ChunkResult) -> int:
    """Give about how many bytes a chunk's results take, without what a database adds."""
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


def write_failed(session: Session, job_id: int, indices: range, error: str) -> list[Rows]:
    """Write error rows for all these pairs; give the rows, for their checksum."""
    outcomes = [PairOutcome(index, "failed", error) for index in indices]
    rows = [_rows.outcome_row(job_id, outcome) for outcome in outcomes]
    insert_rows(session, tables.outcome, rows)
    return [(tables.outcome, rows)]


def _by_method(result: ChunkResult) -> Iterator[tuple[str, Scored]]:
    yield result.methods[0], Scored(result.sums, result.scores)
    yield from result.others.items()


def _blob_rows(
    job_id: int, chunk_id: int, done: Sequence[int], method: str, scores: ScoresBySite
) -> list[tuple[Any, ...]]:
    return [
        (chunk_id, site, job_id, pack(arrays, {"pairs": done}), method)
        for site, arrays in scores.items()
        if arrays and _is_kept(site, arrays[0])
    ]


def _is_kept(site: str, scores: NDArray[np.float32]) -> bool:
    """Tell whether a site's scores are stored as they are; of very many components the largest alone are."""
    return site not in WIDE_SITES or has_positions(scores, site)
