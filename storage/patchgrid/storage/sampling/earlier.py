"""What is known of a chunk's pairs when a later round patches more of their cells."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Table, select
from sqlalchemy.orm import Session

from patchgrid.core.sites import WIDE_SITES
from patchgrid.core.states import PairState
from patchgrid.core.types import JobSpec
from patchgrid.storage import tables
from patchgrid.storage.db.blobs import unpack
from patchgrid.storage.sampling.plans import Plan, read_plans, rounds_of_pairs

#: (method, site) to the stored scores of pairs by row number.
StoredScores = Mapping[tuple[str, str], Mapping[int, NDArray[np.float32]]]


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """What earlier rounds found of pairs, `first` to `last` - 1."""

    #: Of each pair: its row of `outcome`.
    outcomes: Sequence[Row[Any]]
    #: Their scores at the sites of the round; None: they were not kept.
    scores: StoredScores | None
    #: The cells that are patched, rows of `exact` in order.
    cells: Sequence[Row[Any]]
    #: (pair, cell) to the scores by further methods.
    further: Mapping[tuple[int, int], Mapping[str, float]]
    #: Of each pair: the later rounds that are done with it.
    rounds: Sequence[frozenset[int]]
    #: The job's plans by round.
    plans: Mapping[int, Plan]

    def cells_of_pairs(self) -> dict[int, int]:
        """Return the number of cells that each pair has."""
        counts: defaultdict[int, int] = defaultdict(int)
        for row in self.cells:
            counts[row.pair_index] += 1
        return dict(counts)


def keeps_scores(spec: JobSpec, sites: Sequence[str]) -> bool:
    """Tell whether a job's stored scores are those that its components at these sites have."""
    if spec.detail == "positions":
        return True
    return spec.detail == "pairs" and spec.positions == "sum" and not set(sites) & set(WIDE_SITES)


def read_earlier(session: Session, job_id: int, spec: JobSpec, first: int, last: int, number: int) -> Earlier:
    """Read what is known of pairs before round `number` patches them."""
    plans = read_plans(session, job_id)
    sites = tuple(plans[number])

    def rows(table: Table) -> Sequence[Row[Any]]:
        inside = table.c.pair_index.between(first, last - 1)
        keys = [column for column in (table.c.pair_index, table.c.get("cell")) if column is not None]
        return session.execute(select(table).where(table.c.job_id == job_id, inside).order_by(*keys)).all()

    further: defaultdict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for row in rows(tables.method_score):
        further[row.pair_index, row.cell][row.method] = row.score
    return Earlier(
        outcomes=rows(tables.outcome),
        scores=_scores(session, job_id, first, last, sites) if keeps_scores(spec, sites) else None,
        cells=rows(tables.exact),
        further=further,
        rounds=rounds_of_pairs(session, job_id, first, last),
        plans=plans,
    )


def measured(outcome: Row[Any]) -> bool:
    """Tell whether a pair has scores."""
    return bool(outcome.state == PairState.DONE)


def _scores(session: Session, job_id: int, first: int, last: int, sites: Sequence[str]) -> StoredScores:
    chunk, table = tables.chunk, tables.scores
    query = (
        select(table.c.chunk_id, table.c.site, table.c.method, table.c.data)
        .join(chunk, chunk.c.id == table.c.chunk_id)
        .where(chunk.c.job_id == job_id, chunk.c.round.is_(None), table.c.site.in_(sites))
        .where(chunk.c.first < last, chunk.c.last > first)
    )
    scores: defaultdict[tuple[str, str], dict[int, NDArray[np.float32]]] = defaultdict(dict)
    for row in session.execute(query):
        blob = unpack(row.data, f"the stored scores of chunk {row.chunk_id}, {row.site},")
        pairs = zip(blob.meta["pairs"], blob.arrays, strict=True)
        inside = {index: array for index, array in pairs if first <= index < last}
        scores[row.method, row.site] |= inside
    return scores
