"""The plans of a job's later rounds: which share of each component's cells a round adds."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.states import ChunkState
from patchgrid.storage import tables
from patchgrid.storage.db.blobs import pack, unpack

Floats = NDArray[np.float64]
#: The numbers by which a race draws: the same in all of its rounds, so that its samples grow.
RACE_STREAM = 2
#: The numbers of other rounds: this and the round's own.
_ROUND_STREAMS = 8
#: Significant digits of a plan's numbers.
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class SitePlan:
    """What one round does at one site."""

    #: Round, from 1.
    round: int
    #: Share of each component's cells, `[*axes]` of the job's sums.
    shares: Floats
    #: Mean |score| of each component; None: a component's cells all have the same chance.
    scales: Floats | None = None
    #: Race: the lines that effects are measured from, `[level, by score, by total effect; *axes]`; else None.
    lines: Floats | None = None

    @property
    def races(self) -> bool:
        """Whether its cells race for a certificate."""
        return self.lines is not None

    @property
    def stream(self) -> int:
        """Which random numbers draw its cells."""
        return RACE_STREAM if self.races else _ROUND_STREAMS + self.round


#: Site to what a round does there.
Plan = Mapping[str, SitePlan]


def write_plan(session: Session, job_id: int, refinement: int, plan: Plan) -> None:
    """Store the plan of a round, once.

    Its numbers are rounded to six digits: the sums behind them may have been added up in another order.
    """
    for site, part in sorted(plan.items()):
        parts = {"shares": part.shares, "scales": part.scales, "lines": part.lines}
        known = {name: array for name, array in parts.items() if array is not None}
        data = pack(
            [_rounded(array.ravel()) for array in known.values()],
            {"names": list(known), "axes": list(part.shares.shape)},
        )
        values = {"job_id": job_id, "round": part.round, "site": site, "refinement": refinement}
        session.execute(tables.plan.insert().values(values | {"data": data}))


def _rounded(values: Floats) -> Floats:
    """Round to six significant digits."""
    sizes = np.floor(np.log10(np.abs(values), out=np.zeros(values.shape), where=values != 0))
    unit = 10.0 ** (_DIGITS - 1 - sizes)
    return np.round(values * unit) / unit


def read_plans(session: Session, job_id: int) -> dict[int, dict[str, SitePlan]]:
    """Return the job's plans by round."""
    table = tables.plan
    query = select(table).where(table.c.job_id == job_id).order_by(table.c.round, table.c.site)
    plans: defaultdict[int, dict[str, SitePlan]] = defaultdict(dict)
    for row in session.execute(query):
        blob = unpack(row.data, f"the plan of job {job_id}, round {row.round}, {row.site}")
        axes = tuple(blob.meta["axes"])
        arrays = {
            name: array.reshape((3, *axes) if name == "lines" else axes)
            for name, array in zip(blob.meta["names"], blob.arrays, strict=True)
        }
        plans[row.round][row.site] = SitePlan(row.round, **arrays)
    return dict(plans)


def rounds_of_pairs(session: Session, job_id: int, first: int, last: int) -> list[frozenset[int]]:
    """Return of each pair, `first` to `last` - 1, the later rounds that are done with it."""
    chunk = tables.chunk
    query = select(chunk.c.round, chunk.c.first, chunk.c.last).where(
        chunk.c.job_id == job_id,
        chunk.c.round.is_not(None),
        chunk.c.state == ChunkState.DONE,
        chunk.c.first < last,
        chunk.c.last > first,
    )
    rounds: list[set[int]] = [set() for _ in range(first, last)]
    for row in session.execute(query):
        for index in range(max(first, row.first), min(last, row.last)):
            rounds[index - first].add(row.round)
    return [frozenset(own) for own in rounds]
