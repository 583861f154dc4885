"""It is known what made every number, and a job cannot mix two models unnoticed."""

import dataclasses

from sqlalchemy import func, select

from patchgrid.storage import Database, tables
from patchgrid.storage.chunks.provenance import provenances, weights_hashes
from support.storage.chunk_results import PROVENANCE
from support.storage.storage_backends import run_chunk, submit_job


def test_provenance_comes_back_as_it_was_given(database: Database) -> None:
    """Once for all the chunks that have the same."""
    job = submit_job(database)
    with database.read() as session:
        assert provenances(session, job.id) == []
        assert weights_hashes(session, job.id) == set()
    used = dataclasses.replace(
        PROVENANCE, revision=None, seed=2**63 - 1, versions={"torch": "2", "nnsight": "0.8"}
    )
    while run_chunk(database, job, provenance=used):
        pass
    with database.read() as session:
        assert provenances(session, job.id) == [used]
        assert session.scalar(select(func.count()).select_from(tables.provenance)) == 1


def test_jobs_share_provenance_that_is_the_same(database: Database) -> None:
    """The order of the versions does not matter."""
    turned = dataclasses.replace(PROVENANCE, versions=dict(reversed(PROVENANCE.versions.items())))
    assert turned.hash == PROVENANCE.hash
    run_chunk(database, submit_job(database, 3), provenance=PROVENANCE)
    run_chunk(database, submit_job(database, 4), provenance=turned)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.provenance)) == 1


def test_any_difference_makes_another_provenance() -> None:
    """In any field."""
    changed = [
        dataclasses.replace(PROVENANCE, **{field.name: "other"})
        for field in dataclasses.fields(PROVENANCE)
        if field.name not in ("seed", "versions")
    ]
    changed += [
        dataclasses.replace(PROVENANCE, seed=1),
        dataclasses.replace(PROVENANCE, versions={"torch": "3"}),
    ]
    assert len({each.hash for each in [PROVENANCE, *changed]}) == len(changed) + 1


def test_a_job_that_mixed_models_shows_it(database: Database) -> None:
    """Both hashes, in order of use; other jobs are not concerned."""
    job, other = submit_job(database, 8), submit_job(database, 4)
    run_chunk(database, job)
    run_chunk(database, job, provenance=dataclasses.replace(PROVENANCE, weights_hash="others"))
    run_chunk(database, other)
    with database.read() as session:
        assert weights_hashes(session, job.id) == {"weights", "others"}
        assert [each.weights_hash for each in provenances(session, job.id)] == ["weights", "others"]
        assert weights_hashes(session, other.id) == {"weights"}
