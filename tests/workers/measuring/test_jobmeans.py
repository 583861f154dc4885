"""The means of a job that puts them into its base runs: measured once, the same for all its workers."""

import numpy as np
import pytest
from sqlalchemy import func, select

from patchgrid.storage import Database, tables
from patchgrid.storage.chunks.means import read_means
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.job_means import JobMeans
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.testing import load, make_pairs
from support.workers.running import Calls, errors, state, submit_pairs, work_off

KEY = ModelKey("stand-in")


def lease(first: int = 0, attempts: int = 1) -> Lease:
    """Return a lease of ten pairs."""
    return Lease(1, 1, 1, attempts, first, first + 10, "someone")


def test_every_worker_puts_in_what_the_first_measured(database: Database) -> None:
    """Over all of a short job's pairs, whichever chunk asked."""
    job = submit_pairs(database, 40, source="mean", chunk_size=10)
    asked: list[list[str]] = []
    engine = load(KEY, batch=64, on_begin=lambda pairs: asked.append([pair.clean for pair in pairs]))
    waiting = Waiting(database)
    first = JobMeans().get(waiting, engine, job, lease(), batch_tokens=None, on_batch=lambda _: None)
    known = JobMeans()
    for start in (10, 20):
        later = known.get(waiting, engine, job, lease(start), batch_tokens=None, on_batch=lambda _: None)
        assert first is not None
        assert later is not None
        for site, vectors in first.vectors.items():
            np.testing.assert_array_equal(later.vectors[site], vectors)
    assert asked == [[pair.clean for pair in make_pairs(40)]]


def test_a_job_of_another_source_has_none(database: Database) -> None:
    """Nothing is measured for it."""
    job = submit_pairs(database, 4, source="zero")
    engine, waiting = load(KEY), Waiting(database)
    got = JobMeans().get(waiting, engine, job, lease(), batch_tokens=None, on_batch=lambda _: None)
    assert got is None


def test_a_job_gets_its_means_before_its_scores(database: Database) -> None:
    """Each chunk is measured with the means that are stored."""
    job = submit_pairs(database, 12, source="mean", chunk_size=4, exact=0.3)
    work_off(database, Calls())
    assert state(database, job) == "done"
    with database.read() as session:
        means = read_means(session, job.id)
        assert session.scalar(select(func.count()).select_from(tables.mean)) == 2
    assert means is not None
    assert means.vectors["z"][0, 0] == 12


@pytest.mark.parametrize("count", [40, 400])
def test_a_pair_that_raises_costs_the_means_some_pairs_and_the_job_only_itself(
    database: Database, count: int
) -> None:
    """Others are taken at the next attempt."""
    job = submit_pairs(database, count, {7: "RAISE"}, source="mean", chunk_size=20)
    work_off(database, Calls(), idle_exit=1.2)
    assert errors(database, job) == {7: "RuntimeError: the pair makes trouble"}
    with database.read() as session:
        means = read_means(session, job.id)
    assert means is not None
    assert 1 <= means.vectors["z"][0, 0] <= 64
