"""A job's mean activations: what the source `mean` puts into the base run of each of its pairs.

Fixed permanently when the first worker hands them in, so that every worker puts in the same.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.means import Means
from patchgrid.storage import tables
from patchgrid.storage.db.blobs import pack, unpack
from patchgrid.storage.db.dialects import insert_new

#: Pairs that means are taken over, at most.
MOST = 4096


def mean_rows(pairs: int, most: int = MOST, offset: int = 0) -> Sequence[int]:
    """Return the row numbers of up to `most` pairs, evenly spaced over the job's, ascending.

    `offset` moves all of them on, those at the end to the beginning.
    """
    count = min(most, pairs)
    return sorted({(number * pairs // count + offset) % pairs for number in range(count)})


def read_means(session: Session, job_id: int) -> Means | None:
    """Return the job's means; None: not computed yet."""
    table = tables.mean
    rows = session.execute(select(table.c.site, table.c.data).where(table.c.job_id == job_id)).all()
    if not rows:
        return None
    what = "the means of job {}, {}"
    return Means({row.site: unpack(row.data, what.format(job_id, row.site)).arrays[0] for row in rows})


def keep_first_means(session: Session, job_id: int, means: Means) -> Means:
    """Store a job's means unless it has some; return the stored ones."""
    # In one order, so that two workers never wait for each other.
    for site in sorted(means.vectors):
        data = pack([means.vectors[site]], {})
        insert_new(session, tables.mean, {"job_id": job_id, "site": site, "data": data})
    stored = read_means(session, job_id)
    assert stored is not None, "what was just written is there"
    return stored
