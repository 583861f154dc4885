"""Whether the model does a job's task: the contract, held on every database."""

import dataclasses
from collections.abc import Collection

import numpy as np
import pytest
from sqlalchemy import select

from patchgrid.estimates import TaskSummary
from patchgrid.storage import Database, checking, tables
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.jobs import job_list, jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.documents import job_json
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.pair_results import pair_list, pair_view
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.results import components
from patchgrid.storage.results.task import Task, job_task, task_json
from support.storage.chunk_results import chunk_result, make_pairs
from support.storage.storage_backends import run_job, submit_job


def task_of(database: Database, job: JobRecord) -> Task:
    """Add up what is stored."""
    with database.read() as session:
        return job_task(session, job)


def finish(database: Database, job: JobRecord, result: ChunkResult, lease: Lease) -> None:
    """Hand in a chunk's result."""
    with database.write() as session:
        assert leases.finish(session, lease, result)


def claim(database: Database, job: JobRecord) -> Lease:
    """Claim a job's next chunk."""
    with database.write() as session:
        lease = leases.claim(session, "worker", job_id=job.id)
    assert lease is not None
    return lease


def run_swapped(database: Database, job: JobRecord, swapped: Collection[int]) -> None:
    """Finish a job's chunks, the last one first; some pairs have their sides swapped."""
    taken = [claim(database, job) for _ in range(3)]
    for lease in reversed(taken):
        result = chunk_result(job, lease)
        outcomes = [
            dataclasses.replace(outcome, clean_preference=-1.0, corrupted_preference=1.0)
            if outcome.index in swapped
            else outcome
            for outcome in result.outcomes
        ]
        finish(database, job, dataclasses.replace(result, outcomes=outcomes), lease)


def test_counts_and_means_are_those_of_all_chunks(database: Database) -> None:
    """In whatever order they come in; pair i has the metrics i and -i."""
    job = submit_job(database, 10)
    assert task_of(database, job) == Task("logit_diff", TaskSummary())
    run_swapped(database, job, {1, 6, 7, 9})
    task = task_of(database, job)
    assert (task.summary.pairs, task.summary.measured) == (10, 10)
    assert (task.summary.clean_correct, task.summary.corrupted_incorrect) == (6, 6)
    assert (task.summary.swapped, task.summary.swapped_pairs) == (4, (1, 6, 7))
    assert (task.summary.clean_metric, task.summary.corrupted_metric) == (4.5, -4.5)
    assert task.summary.difference_squares == sum((2 * index) ** 2 for index in range(10))
    assert task.line is not None
    assert task.line.startswith("Task: clean +4.5, corrupted -4.5 (logit_diff); ")


def test_swapped_pairs_are_named_by_their_ids(database: Database) -> None:
    """People look for those in their file."""
    job = submit_job(database, 12, pairs=make_pairs(12, named=True))
    run_swapped(database, job, {8})
    assert task_of(database, job).summary.swapped_pairs == ("pair-8",)


def test_answers_given_as_ids_are_shown_as_tokens(database: Database) -> None:
    """So ids of another tokenizer are seen."""
    job = run_job(database, submit_job(database, 5))
    task = task_of(database, job)
    assert task.answers == ("' a' not ' b', 7 (' seven')",) * 3
    with database.read() as session:
        view = pair_view.pair(session, job, 2)
    assert (view.correct_tokens, view.incorrect_tokens) == ((" a",), (" b", " seven"))


def test_skipped_pairs_are_counted_and_in_no_sum(database: Database) -> None:
    """A job that skips pairs has the components of the job without them."""
    job = run_job(database, submit_job(database, 10), failed={1}, skipped={0, 5, 9})
    assert job.state == "done"
    with database.read() as session:
        progress = job_progress(session, job.id)
        (listed,) = job_list.progresses(session, [job.id]).values()
        assert listed == progress
        assert (progress.done, progress.failed, progress.skipped, progress.left) == (6, 1, 3, 0)
        assert job_json(job, progress)["pairs"] == {"total": 10, "done": 6, "failed": 1, "skipped": 3}
        assert {row.n for row in components.components(session, job)} == {6}
        states = [row["state"] for row in export_rows(database, job, "pairs")]
        assert [place for place, state in enumerate(states) if state == "skipped"] == [0, 5, 9]
        found = pair_list.page(session, job, state="skipped").items
        assert [(line.row, line.clean_preference) for line in found] == [(0, -1.5), (5, -1.5), (9, -1.5)]
        exact = session.scalars(select(tables.exact.c.pair_index).distinct()).all()
        assert set(exact).isdisjoint({0, 1, 5, 9})
    summary = task_of(database, job).summary
    assert (summary.pairs, summary.measured, summary.clean_correct) == (9, 6, 6)
    assert summary.clean_metric == pytest.approx(np.mean([2, 3, 4, 6, 7, 8]))
    assert checking.check(database.url).problems == ()


def test_a_job_whose_every_pair_is_skipped_is_done(database: Database) -> None:
    """The model does not do the task: that is an answer, and no failure."""
    job = run_job(database, submit_job(database, 6), skipped=range(6))
    assert (job.state, job.error) == ("done", None)
    task = task_json(task_of(database, job))
    assert task is not None
    assert task["clean_metric"] is None
    assert task["line"] == (
        "Task: clean prefers the correct answer in 0 % of 6 pairs, corrupted the other in 100 %"
    )


def test_a_wrong_count_of_skipped_pairs_is_found(database: Database, url: str) -> None:
    """By `db check`."""
    job = run_job(database, submit_job(database, 8), skipped={2})
    with database.write() as session:
        session.execute(tables.chunk.update().values(skipped=0, done=4))
    problems = checking.check(url).problems
    assert any("4 done, 0 failed, 0 skipped" in problem for problem in problems), problems
    assert job.state == "done"


def test_a_pair_with_an_id_outside_the_vocabulary_is_counted(database: Database) -> None:
    """Beside its own failure: one line says what the file's fault is."""
    job = submit_job(database, 4)
    lease = claim(database, job)
    result = chunk_result(job, lease, failed={2})
    error = "correct token id 50000 is not in the model's vocabulary (0 to 49151)"
    outcomes = [dataclasses.replace(each, error=error) if each.error else each for each in result.outcomes]
    finish(database, job, dataclasses.replace(result, outcomes=outcomes), lease)
    summary = task_of(database, job).summary
    assert (summary.outside_vocabulary, summary.outside_pairs) == (1, (2,))


def test_a_deleted_job_leaves_nothing(database: Database) -> None:
    """Its rows would stand in the way of its chunks."""
    job = run_job(database, submit_job(database, 4))
    with database.write() as session:
        jobs.delete(session, job.id)
        assert session.execute(select(tables.task)).all() == []


def test_a_job_without_preferences_says_nothing_of_its_task(database: Database) -> None:
    """Nor do its warnings."""
    job = submit_job(database, 4)
    lease = claim(database, job)
    result = chunk_result(job, lease)
    unknown = {"clean_preference": None, "corrupted_preference": None}
    outcomes = [dataclasses.replace(each, **unknown) for each in result.outcomes]
    finish(database, job, dataclasses.replace(result, outcomes=outcomes), lease)
    assert task_json(task_of(database, job)) is None


def test_wrong_counts_of_the_task_are_found(database: Database, url: str) -> None:
    """By `db check`, from the outcomes, even where the checksum is lost with them."""
    run_job(database, submit_job(database, 8), skipped={2})
    assert checking.check(url).problems == ()
    with database.write() as session:
        session.execute(tables.checksum.delete())
        session.execute(tables.task.update().values(clean_correct=1))
    problems = checking.check(url).problems
    assert any(
        "clean_correct in table task is 1, expected 3 from its outcomes" in problem for problem in problems
    )
