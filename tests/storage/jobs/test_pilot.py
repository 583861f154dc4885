"""A job's pilot is fixed by the first that hands one in."""

import numpy as np
import pytest
from sqlalchemy import func, select

from patchgrid.estimates import Sums
from patchgrid.storage import Database, checking, tables
from patchgrid.storage.jobs import jobs
from patchgrid.storage.sampling.pilot import keep_first_pilot, pilot_pairs, read_pilot
from support.storage.chunk_results import make_pairs
from support.storage.storage_backends import submit_job


def pilot(seed: int) -> dict[str, Sums]:
    """Make a pilot of two sites."""
    rng = np.random.default_rng(seed)
    heads, mlps = Sums.zeros((2, 1, 3), sampled=False, aligned=True), Sums.zeros((), sampled=False)
    heads.add_pairs(rng.normal(size=(4, 2, 5, 3)))
    return {"z": heads, "mlp_out": mlps}


def test_the_first_pilot_stays(database: Database) -> None:
    """Whoever comes later gets it, aligned axes and sites without any pair included."""
    job = submit_job(database)
    with database.read() as session:
        assert read_pilot(session, job.id) == {}
    with database.write() as session:
        first = keep_first_pilot(session, job.id, pilot(1))
    with database.write() as session:
        second = keep_first_pilot(session, job.id, pilot(2))
    with database.read() as session:
        third = read_pilot(session, job.id)
    for site, sums in pilot(1).items():
        for found in (first, second, third):
            assert found[site].aligned == sums.aligned
            np.testing.assert_array_equal(found[site].to_array(), sums.to_array())


def test_the_pairs_of_a_pilot_come_in_order(database: Database) -> None:
    """By row number."""
    job = submit_job(database, 10)
    pairs = make_pairs(10)
    with database.read() as session:
        assert pilot_pairs(session, job.id, [0, 3, 9]) == [pairs[0], pairs[3], pairs[9]]


def test_a_pilot_goes_with_its_job(database: Database) -> None:
    """And no other job's does."""
    first, second = submit_job(database, 5), submit_job(database, 6)
    with database.write() as session:
        keep_first_pilot(session, first.id, pilot(1))
        keep_first_pilot(session, second.id, pilot(2))
    with database.write() as session:
        jobs.delete(session, first.id)
    with database.read() as session:
        assert read_pilot(session, first.id) == {}
        assert set(read_pilot(session, second.id)) == {"z", "mlp_out"}
        assert session.scalar(select(func.count()).select_from(tables.pilot)) == 2


@pytest.mark.parametrize("length", [0, 40])
def test_a_damaged_pilot_is_found(database: Database, url: str, length: int) -> None:
    """By the check."""
    job = submit_job(database)
    with database.write() as session:
        keep_first_pilot(session, job.id, pilot(1))
        cut = func.substr(tables.pilot.c.data, 1, length)
        session.execute(tables.pilot.update().where(tables.pilot.c.site == "z").values(data=cut))
    [problem] = checking.check(url).problems
    assert f"the pilot of job {job.id}, z" in problem
