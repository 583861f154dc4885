"""A worker's results of a chunk."""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import OUTSIDE_VOCABULARY
from patchgrid.estimates import Rounding, Sums, TaskSummary, summarize_task
from patchgrid.estimates.task import NAMED
from patchgrid.storage.chunks.provenance import Provenance

#: (site, kind) to the sums over a chunk's done pairs.
SumsBySite = Mapping[tuple[str, str], Sums]
#: Site to one float32 array for each *done* pair, in order: `[layer(, inner)]` (detail `pairs`) or `[layer,
#: position(, inner)]` (detail `positions`); for edges `[edge]` and `[edge, position]`.
ScoresBySite = Mapping[str, Sequence[NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """The outcome of one pair."""

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
    row: int
    #: One of `SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Index within the layer, of its site's kind, or None; of an edge, its sender's head.
    index: int | None
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
class RoundResult:
    """What a later round has besides the results of every chunk, whose sums are then differences."""

    #: Round, from 1.
    number: int
    #: Of each pair: cells patched before.
    taken: Mapping[int, int] = field(default_factory=dict)
    #: (pair, cell, inclusion) of cells patched before, which now have another chance to be patched.
    inclusion: Sequence[tuple[int, int, float]] = ()
    #: Site to sums over the cells that joined the race, `[sum, *axes]`; see `racing.RACE_SUMS`.
    race: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


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
    #: Of a later round, else None.
    round: RoundResult | None = None


def join_results(results: Sequence[ChunkResult]) -> ChunkResult:
    """Merge the results of a chunk's parts, which are in order and have one provenance."""
    if len({result.provenance.hash for result in results}) != 1:
        raise ValueError("cannot merge results with different provenance, or none at all")
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
        round=_join_rounds([result.round for result in results if result.round is not None]),
    )


def _join_rounds(parts: Sequence[RoundResult]) -> RoundResult | None:
    if not parts:
        return None
    race: dict[str, NDArray[np.float64]] = {}
    for part in parts:
        for site, sums in part.race.items():
            race[site] = race[site] + sums if site in race else sums
    return RoundResult(
        parts[0].number,
        {index: count for part in parts for index, count in part.taken.items()},
        [each for part in parts for each in part.inclusion],
        race,
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
    measured = [outcome for outcome in outcomes if outcome.state != "failed"]
    outside = [outcome.index for outcome in outcomes if OUTSIDE_VOCABULARY in (outcome.error or "")]
    summary = summarize_task(
        [outcome.index for outcome in measured],
        np.array([outcome.clean_metric for outcome in measured], np.float64),
        np.array([outcome.corrupted_metric for outcome in measured], np.float64),
        np.array([outcome.clean_preference for outcome in measured], np.float64),
        np.array([outcome.corrupted_preference for outcome in measured], np.float64),
        [outcome.state == "done" for outcome in measured],
    )
    return summary + TaskSummary(outside_vocabulary=len(outside), outside_pairs=tuple(outside[:NAMED]))
