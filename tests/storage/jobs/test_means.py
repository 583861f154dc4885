"""A job's means are fixed by the first that hands them in."""

import itertools

import numpy as np
import pytest
from sqlalchemy import func, select

from patchgrid.core.means import Means
from patchgrid.storage import Database, checking, tables
from patchgrid.storage.chunks.means import keep_first_means, mean_rows, read_means
from patchgrid.storage.jobs import jobs
from support.storage.storage_backends import submit_job


def means(seed: int) -> Means:
    """Make means of two sites, of which one is wider."""
    rng = np.random.default_rng(seed)
    widths = {"z": 6, "mlp_out": 4}
    vectors = {site: rng.normal(size=(2, width)).astype(np.float32) for site, width in widths.items()}
    return Means(vectors)


def test_the_first_means_stay(database: Database) -> None:
    """Whoever comes later gets them, bit for bit."""
    job = submit_job(database)
    with database.read() as session:
        assert read_means(session, job.id) is None
    with database.write() as session:
        first = keep_first_means(session, job.id, means(1))
    with database.write() as session:
        second = keep_first_means(session, job.id, means(2))
    with database.read() as session:
        third = read_means(session, job.id)
    for found in (first, second, third):
        assert found is not None
        assert found.vectors.keys() == {"z", "mlp_out"}
        for site, vectors in means(1).vectors.items():
            assert found.vectors[site].dtype == np.float32
            np.testing.assert_array_equal(found.vectors[site], vectors)


def test_means_go_with_their_job(database: Database) -> None:
    """And no other job's do."""
    first, second = submit_job(database, 5), submit_job(database, 6)
    with database.write() as session:
        keep_first_means(session, first.id, means(1))
        keep_first_means(session, second.id, means(2))
    with database.write() as session:
        jobs.delete(session, first.id)
    with database.read() as session:
        assert read_means(session, first.id) is None
        assert session.scalar(select(func.count()).select_from(tables.mean)) == 2


@pytest.mark.parametrize("length", [0, 40])
def test_damaged_means_are_found(database: Database, url: str, length: int) -> None:
    """By the check."""
    job = submit_job(database)
    with database.write() as session:
        keep_first_means(session, job.id, means(1))
        cut = func.substr(tables.mean.c.data, 1, length)
        session.execute(tables.mean.update().where(tables.mean.c.site == "z").values(data=cut))
    [problem] = checking.check(url).problems
    assert f"the means of job {job.id}, z" in problem


def test_the_pairs_of_means_are_spread_over_the_job() -> None:
    """A file sorted by anything still gives fair means; a short one gives all of its pairs."""
    assert mean_rows(10) == list(range(10))
    rows = mean_rows(1_000_001)
    assert len(rows) == 4096
    assert {b - a for a, b in itertools.pairwise(rows)} == {244, 245}
    assert mean_rows(10, 2, 7) == [2, 7]
