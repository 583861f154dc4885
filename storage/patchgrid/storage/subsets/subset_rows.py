"""What patching random subsets of a job's components gave: one row a pair and round, kept once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.estimates.missed import BlockEffects, blocks_of
from patchgrid.storage.db.blobs import pack, unpack
from patchgrid.storage.db.dialects import insert_new
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.tables import missed, missed_design


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Which components of a job's site are patched in subsets."""

    site: str
    #: Number of blocks that they are dealt into in each round.
    blocks: int
    #: Axes of a component: layer, index.
    axes: tuple[int, ...]
    #: bool `[component]`, flat: those that are; the others were patched alone.
    members: NDArray[np.bool_]

    def deal(self, job: JobRecord, pair: int, rounds: Sequence[int]) -> NDArray[np.intp]:
        """Return each component's block in rounds of a pair, `[round, component]`; -1: in none."""
        count = len(self.members)
        drawn = [blocks_of(job.spec.seed, self.site, pair, each, count, self.blocks) for each in rounds]
        return np.where(self.members, np.stack(drawn), -1)


def read_design(session: Session, job_id: int, site: str) -> Design | None:
    """Return the design of a job's site; None: no subset of it was patched."""
    mine = (missed_design.c.job_id == job_id) & (missed_design.c.site == site)
    row = session.execute(select(missed_design).where(mine)).one_or_none()
    if row is None:
        return None
    blob = unpack(row.data, f"the subsets of job {job_id}, {site}")
    axes = tuple(blob.meta["axes"])
    members = np.unpackbits(blob.arrays[0], count=math.prod(axes)).astype(bool)
    return Design(site, row.blocks, axes, members)


def keep_first_design(session: Session, job_id: int, design: Design) -> Design:
    """Store a site's design unless it has one; return the stored one."""
    data = pack([np.packbits(design.members)], {"axes": design.axes})
    row = {"job_id": job_id, "site": design.site, "blocks": design.blocks, "data": data}
    insert_new(session, missed_design, row)
    stored = read_design(session, job_id, design.site)
    assert stored is not None, "what was just written is there"
    return stored


def designed_sites(session: Session, job_id: int) -> list[str]:
    """Return the sites of which subsets were patched."""
    query = select(missed_design.c.site).where(missed_design.c.job_id == job_id)
    return list(session.scalars(query.order_by(missed_design.c.site)))


def stored_rounds(session: Session, job_id: int, site: str) -> dict[int, set[int]]:
    """Return the rounds that are measured, by pair."""
    query = select(missed.c.pair_index, missed.c.round)
    found: dict[int, set[int]] = {}
    for pair, number in session.execute(query.where(missed.c.job_id == job_id, missed.c.site == site)):
        found.setdefault(pair, set()).add(number)
    return found


def keep_rounds(
    session: Session, job_id: int, site: str, pair: int, rounds: Mapping[int, NDArray[np.float64]]
) -> None:
    """Store what rounds of a pair gave, `[effect and predicted, block]` each, unless they are there."""
    for number, both in sorted(rounds.items()):
        row = {"job_id": job_id, "site": site, "pair_index": pair, "round": number}
        insert_new(session, missed, row | {"data": pack([both], {})})


def read_effects(session: Session, job: JobRecord, design: Design) -> Iterator[BlockEffects]:
    """Yield each pair's measured rounds, of pairs that have two at least."""
    mine = (missed.c.job_id == job.id) & (missed.c.site == design.site)
    query = select(missed.c.pair_index, missed.c.round, missed.c.data).where(mine)
    rows: dict[int, list[tuple[int, NDArray[np.float64]]]] = {}
    for pair, number, data in session.execute(query.order_by(missed.c.pair_index, missed.c.round)):
        what = f"the effects of subsets of job {job.id}, {design.site}"
        rows.setdefault(pair, []).append((number, unpack(data, what).arrays[0]))
    for pair, own in rows.items():
        if len(own) > 1:
            numbers, both = zip(*own, strict=True)
            effects, predicted = np.stack(both, axis=1)
            yield BlockEffects(effects, predicted, design.deal(job, pair, numbers))
