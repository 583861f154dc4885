"""A job's pilot: sums over a few of its pairs, from which sampling takes the scale of every component.

It is fixed permanently when the first worker hands one in, so that every worker draws from the same
probabilities.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.types import Pair
from patchgrid.estimates import Sums
from patchgrid.storage import tables
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.chunks.sums import pack_sums, read_sums
from patchgrid.storage.db.dialects import insert_new


def pilot_pairs(session: Session, job_id: int, rows: Sequence[int]) -> list[Pair]:
    """Return the job's pairs at these row numbers, which ascend."""
    pair = tables.pair
    query = select(pair).where(pair.c.job_id == job_id, pair.c.pair_index.in_(rows))
    return [read_pair(row) for row in session.execute(query.order_by(pair.c.pair_index))]


def read_pilot(session: Session, job_id: int) -> dict[str, Sums]:
    """Return the job's pilot by site; empty: not computed yet."""
    table = tables.pilot
    query = select(table.c.site, table.c.data).where(table.c.job_id == job_id).order_by(table.c.site)
    return {
        site: read_sums(data, f"the pilot of job {job_id}, {site}") for site, data in session.execute(query)
    }


def keep_first_pilot(session: Session, job_id: int, pilot: Mapping[str, Sums]) -> dict[str, Sums]:
    """Store a job's pilot unless it has one; return the stored one."""
    # In one order, so that two workers never wait for each other.
    for site in sorted(pilot):
        insert_new(session, tables.pilot, {"job_id": job_id, "site": site, "data": pack_sums(pilot[site])})
    return read_pilot(session, job_id)
