"""The jobs page by page."""

import random

import pytest
from sqlalchemy import update

from patchgrid.core.errors import SpecError
from patchgrid.storage import Database, errors, tables
from patchgrid.storage.jobs import job_list, jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.queue import control
from support.storage.chunk_results import make_spec
from support.storage.storage_backends import all_jobs, run_chunk, run_job, submit_job
from support.storage.watching import statements


def page(database: Database, **options: object) -> list[int]:
    """Return a page's job ids."""
    with database.read() as session:
        return [job.id for job, _ in job_list.page(session, **options)]  # type: ignore[arg-type]


def submit(database: Database, count: int = 4, model: str = "a/model", **options: object) -> JobRecord:
    """Submit a job under a key of its own."""
    with database.read() as session:
        number = len(all_jobs(session))
    return submit_job(database, count, spec=make_spec(model=model), key=f"job {number}", **options)


def test_jobs_come_newest_first_with_how_far_they_are(database: Database) -> None:
    """Each with the counts that it has when asked for alone."""
    made = [submit(database, count) for count in (4, 30, 5, 12)]
    run_job(database, made[0], failed=(1,))
    run_chunk(database, made[1], failed=(0, 2))
    with database.write() as session:
        control.pause(session, made[1].id)
        control.cancel(session, made[3].id)
    with database.read() as session:
        found = job_list.page(session)
        ids = [job.id for job in made]
        assert [job for job, _ in found] == [jobs.get(session, job_id) for job_id in reversed(ids)]
        counts = {job_id: job_progress(session, job_id) for job_id in ids}
        assert {job.id: progress for job, progress in found} == counts
        assert job_list.progresses(session, [*ids, 99]) == counts
        assert job_list.progresses(session, []) == {}
    assert counts[made[1].id] == Progress(30, 2, 2, 0, 8, 1, 0, 0, 0, 7)


def test_pages_of_any_size_are_together_all_jobs(database: Database) -> None:
    """With and without filters; every page goes on where the last ended."""
    random_ = random.Random(7)
    made = [submit(database, model=f"org/model-{random_.randrange(3)}") for _ in range(25)]
    for job in random_.sample(made, 12):
        with database.write() as session:
            control.cancel(session, job.id)
    with database.read() as session:
        made = [jobs.get(session, job.id) for job in reversed(made)]
    for _ in range(25):
        state = random_.choice([None, "pending", "cancelled", "done"])
        model = random_.choice([None, "org/model-1", "org/model"])
        wanted = [job.id for job in made if state in (None, job.state) and model in (None, job.spec.model)]
        limit, before, found = random_.randint(1, 9), None, list[int]()
        while True:
            ids = page(database, before=before, limit=limit, state=state, model=model)
            assert len(ids) <= limit
            found += ids
            if not ids:
                break
            before = ids[-1]
        assert found == wanted


def test_a_job_is_looked_for_by_id_name_and_model(database: Database) -> None:
    """The id whole, the others in part, whatever the case; no character stands for another."""
    one = submit(database, name="Indirect Objects 100%", model="org/gpt")
    two = submit(database, name="a_b", model="org/Llama")
    three = submit(database, model="org/pythia")
    for search, wanted in {
        "indirect": [one],
        "OBJECTS": [one],
        "llama": [two],
        "org/": [three, two, one],
        "%": [one],
        "_": [two],
        "a%b": [],
        "/": [three, two, one],
        "\\": [],
        str(two.id): [two],
        "": [three, two, one],
        "0" * 900: [],
        "9" * 900: [],
        "\0": [],
        "\ud800": [],
        "' OR 1=1 --": [],
    }.items():
        assert page(database, search=search) == [job.id for job in wanted], search
    with pytest.raises(errors.SearchRefused):
        page(database, search="x" * 1001)


def test_what_there_is_not_gives_nothing(database: Database) -> None:
    """Or says so, where it can only be a slip."""
    assert page(database) == []
    job = submit(database)
    assert page(database, model="a\0") == []
    assert page(database, model="A/MODEL") == []
    assert page(database, before=job.id) == []
    assert page(database, before=-(2**70)) == []
    assert page(database, before=2**70) == [job.id]
    with pytest.raises(SpecError, match="did you mean 'done'"):
        page(database, state="don")


def test_a_page_has_so_many_jobs_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are asked for."""
    monkeypatch.setattr(job_list, "MOST", 3)
    for _ in range(5):
        submit(database)
    assert len(page(database, limit=100)) == 3
    assert page(database, limit=0) == page(database, limit=-1) == []


def test_a_page_takes_two_queries(database: Database) -> None:
    """However many jobs are on it."""
    for _ in range(6):
        submit(database)
    with database.read() as session, statements(database) as seen:
        assert len(job_list.page(session)) == 6
    assert len([each for each, _ in seen if each.startswith("SELECT")]) == 2


def test_a_job_is_found_by_id_by_name_or_as_the_last(database: Database) -> None:
    """The last is the one that was submitted last, not the one that changed last."""
    with database.read() as session, pytest.raises(errors.JobNotFound, match="no jobs yet"):
        job_list.find(session, "last")
    first, second = submit(database, name="first"), submit(database)
    with database.write() as session:
        session.execute(update(tables.job).where(tables.job.c.id == first.id).values(created_at=2e12))
    with database.read() as session:
        assert job_list.find(session, "last") == second
        assert (
            job_list.find(session, "first")
            == job_list.find(session, str(first.id))
            == job_list.find(session, 1)
        )
