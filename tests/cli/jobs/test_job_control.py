"""Pausing, resuming, cancelling and retrying jobs, and waiting for them."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from patchgrid.storage import Database
from patchgrid.storage.jobs import deletion, jobs
from patchgrid.storage.queue import control, leases, workers
from patchgrid.workers.broker import messages
from support.cli.commands import patchgrid, refused, write_pairs
from support.machines.servers import Redis
from support.storage.leasing import claim, fail, finish


class Queue:
    """A database with one job of twelve pairs in three chunks, and words for what happens to it."""

    def __init__(self, path: Path, pairs: Path, model: Path) -> None:
        self.path, self.pairs, self.model = path, pairs, model
        submit = ("submit", pairs, "-m", model, "--chunk-size", 4, "--db", path)
        assert patchgrid(*submit).exit_code == 0

    def job(self, *arguments: object) -> Any:
        """Run a `job` command on job 1."""
        command, *options = arguments
        return patchgrid("job", command, 1, *options, "--db", self.path)

    def shown(self) -> Any:
        """Return the document of `job show --json`."""
        return json.loads(self.job("show", "--json").stdout)

    def cancel(self) -> None:
        """Cancel the job without a command: two at a time in one process would mix what they print."""
        with self.database() as database, database.write() as session:
            control.cancel(session, 1)

    def database(self) -> Database:
        """Open the database."""
        return Database.open(f"sqlite:///{self.path}")

    def measure(self, chunks: int = 1, *, failed: tuple[int, ...] = ()) -> None:
        """Measure chunks, as a worker would."""
        with self.database() as database:
            with database.read() as session:
                job = jobs.get(session, 1)
            for _ in range(chunks):
                assert finish(database, job, claim(database), failed=failed)


@pytest.fixture
def queue(tiny_model: Path, tmp_path: Path) -> Queue:
    """Return a database with a job that no worker runs."""
    return Queue(tmp_path / "a.db", write_pairs(tmp_path / "pairs.jsonl", 12), tiny_model)


def test_a_paused_job_is_held_until_it_is_resumed(queue: Queue) -> None:
    """Chunks at work are finished, others wait; resume gives them back and ends."""
    queue.measure()
    with queue.database() as database:
        lease = claim(database)
        paused = queue.job("pause")
        assert paused.exit_code == 0
        assert "Job 1 is paused: 4 of 12 pairs measured, 1 chunk still running" in paused.stderr
        assert f"patchgrid job resume 1 --db {queue.path}" in paused.stderr
        with database.write() as session:
            assert leases.claim(session, "another") is None
            assert leases.release(session, lease)
    assert queue.shown()["chunks"] == chunks(done=1, held=2)
    assert "paused" in patchgrid("job", "list", "--db", queue.path).stdout
    assert queue.job("pause").exit_code == 0, "twice is once"
    resumed = queue.job("resume", "--json")
    assert resumed.exit_code == 0
    assert json.loads(resumed.stdout) == {"job": 1, "state": "running"}
    assert "Job 1 resumed" in resumed.stderr
    assert queue.shown()["chunks"] == chunks(done=1, pending=2)


def chunks(**counts: int) -> dict[str, int]:
    """Return the counts of chunks by state, those not named zero."""
    return dict.fromkeys(("done", "leased", "pending", "held", "failed", "cancelled"), 0) | counts


def test_a_paused_job_is_worked_off_here_if_asked(queue: Queue) -> None:
    """`run` of the same pairs says how."""
    queue.job("pause")
    run = patchgrid("run", queue.pairs, "-m", queue.model, "--db", queue.path)
    assert f"and is paused; to resume: patchgrid job resume 1 --here --db {queue.path}" in refused(run)
    submitted = patchgrid("submit", queue.pairs, "-m", queue.model, "--db", queue.path)
    assert "Already submitted as job 1, paused" in submitted.stderr
    assert "patchgrid job resume 1" in submitted.stderr
    resumed = queue.job("resume", "--here")
    assert resumed.exit_code == 0, resumed.stderr
    assert "Job 1 done: 12 pairs measured" in resumed.stderr


def test_a_cancelled_job_keeps_what_was_measured_and_can_be_taken_up_again(queue: Queue) -> None:
    """Late results are refused; `retry` makes the rest wait for workers."""
    queue.measure()
    with queue.database() as database:
        with database.read() as session:
            job = jobs.get(session, 1)
        late = claim(database)
        cancelled = queue.job("cancel", "--json")
        assert (cancelled.exit_code, json.loads(cancelled.stdout)) == (0, {"job": 1, "state": "cancelled"})
        assert "Job 1 is cancelled: 4 of 12 pairs measured" in cancelled.stderr
        assert not finish(database, job, late)
    assert queue.shown()["chunks"] == chunks(done=1, cancelled=2)
    assert "cancelled" in patchgrid("job", "list", "--db", queue.path).stdout
    assert "so far" in patchgrid("results", "top", 1, "--db", queue.path).stderr
    again = patchgrid("job", "resume", 1, "--db", queue.path)
    assert again.exit_code == 1
    assert "patchgrid job retry 1" in again.stderr
    assert "job 1 is cancelled" in refused(queue.job("pause"))
    retried = queue.job("retry", "--json")
    assert json.loads(retried.stdout) == {"job": 1, "state": "running", "chunks": 2}
    assert "2 chunks to retry" in retried.stderr
    assert queue.shown()["chunks"] == chunks(done=1, pending=2)


def test_a_cancelled_job_continues_for_whoever_submits_it_next(queue: Queue) -> None:
    """And is theirs from then on; what one of several owners cancels goes on for the others."""
    queue.measure()
    assert "is cancelled" in queue.job("cancel").stderr
    submit = ("submit", queue.pairs, "-m", queue.model, "--db", queue.path, "--json", "--user")
    found = patchgrid(*submit, "bob")
    told = json.loads(found.stdout)
    assert (told["created"], told["reopened"], told["state"]) == (False, True, "running")
    assert "job 1, reopened after a cancel: 4 of 12 pairs measured" in found.stderr
    assert json.loads(patchgrid(*submit, "ann").stdout)["reopened"] is False
    left = queue.job("cancel", "--user", "bob")
    assert "You withdrew from job 1; it continues for ann, who also submitted it" in left.stderr
    assert re.search(r"owner +ann", queue.job("show").stdout)
    kept = queue.job("delete", "--yes", "--user", "bob")
    assert "it is kept for ann" in kept.stderr
    queue.measure(2)
    assert queue.shown()["state"] == "done"
    assert "Deleted job 1" in queue.job("delete", "--yes", "--everyone", "--user", "bob").stderr


def test_names_are_looked_up_among_ones_own_jobs_first(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `--user`, or what the environment says."""
    submit = ("submit", queue.pairs, "-m", queue.model, "--db", queue.path, "--name", "mine", "--user")
    patchgrid(*submit, "ann", "--seed", 1)
    patchgrid(*submit, "bob", "--seed", 2)
    show = ("job", "show", "mine", "--json", "--db", queue.path)
    assert json.loads(patchgrid(*show, "--user", "ann").stdout)["job"] == 2
    monkeypatch.setenv("PATCHGRID_USER", "bob")
    assert json.loads(patchgrid(*show).stdout)["job"] == 3
    assert "2 jobs are named 'mine'" in refused(patchgrid(*show, "--user", "cid"))
    assert "--user" in refused(patchgrid(*show[:4], "--server", "http://127.0.0.1:9", "--user", "ann"))


def test_jobs_that_ended_long_ago_are_pruned(queue: Queue) -> None:
    """Once it is sure, and by their state; others stay."""
    queue.measure(3)
    patchgrid("submit", queue.pairs, "-m", queue.model, "--db", queue.path, "--seed", 1)
    prune = ("job", "prune", "--db", queue.path, "--older-than")
    assert "No job ended that long ago" in patchgrid(*prune, "1h").stderr
    with queue.database() as database, database.write() as session:
        session.execute(text("UPDATE job SET finished_at = finished_at - 100000 WHERE id = 1"))
    assert "No job" in patchgrid(*prune, "1d", "--state", "failed,cancelled").stderr
    listed = patchgrid(*prune, "1d", "--dry-run", "--json")
    assert json.loads(listed.stdout)["jobs"] == [1]
    assert json.loads(listed.stdout)["bytes"] > 0
    assert patchgrid(*prune, "1d").exit_code == 1, "nobody said yes"
    pruned = patchgrid(*prune, "1d", "--yes")
    assert "Deleted 1 job, about" in pruned.stderr
    assert "patchgrid db vacuum" in pruned.stderr
    listed = patchgrid("job", "list", "--json", "--db", queue.path)
    assert [each["job"] for each in json.loads(listed.stdout)] == [2]
    assert "takes" in patchgrid("db", "vacuum", "--db", queue.path).stderr
    for wrong in (("soon",), ("1d", "--state", "running")):
        assert patchgrid(*prune, *wrong).exit_code == 2


@pytest.mark.parametrize("command", [("job", "prune", "--older-than", "1d"), ("db", "vacuum")])
def test_an_interrupted_deletion_is_finished(queue: Queue, command: tuple[str, ...]) -> None:
    """By the same command, although no job is left to be found, and where space is given back."""
    with queue.database() as database, database.write() as session:
        deletion.begin(session, 1)
    assert patchgrid(*command, "--db", queue.path).exit_code == 0
    with queue.database() as database, database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM job")) == 0
        assert session.scalar(text("SELECT count(*) FROM pair")) == 0


def test_chunks_given_up_are_tried_again(queue: Queue) -> None:
    """And `show` tells what they went through."""
    queue.measure(2)
    with queue.database() as database:
        for _ in range(3):
            assert fail(database, claim(database))
    assert queue.shown()["state"] == "done"
    assert queue.shown()["troubles"] == {"retried": 1, "split": 0}
    assert re.search(r"trouble +1 retried", queue.job("show").stdout)
    assert queue.job("wait").exit_code == 3
    assert "1 chunk to retry" in queue.job("retry").stderr
    assert queue.shown()["state"] == "running"
    queue.measure()
    assert queue.job("wait").exit_code == 0
    assert "nothing to retry: 12 of 12 pairs measured" in queue.job("retry").stderr


def test_a_job_that_is_over_can_be_neither_paused_nor_cancelled(queue: Queue) -> None:
    """It says why."""
    queue.measure(3)
    for command in ("pause", "cancel"):
        assert f"job 1 is done: nothing to {command}" in refused(queue.job(command))


def test_retry_and_resume_send_messages_for_what_waits(queue: Queue, redis: Redis) -> None:
    """So does submit: one a chunk, on the model's queue; other commands send none."""
    options = ("--broker", redis.url)
    model = str(queue.model)
    sent = messages.count(redis.url, [model])[model]
    queue.measure()
    for command in (("cancel",), ("retry", *options), ("pause",), ("resume", *options)):
        assert queue.job(*command).exit_code == 0
        sent += 2 if len(command) > 1 else 0
        assert messages.count(redis.url, [model]) == {model: sent}, command
    submit = ("submit", queue.pairs, "-m", queue.model, "--chunk-size", 4, "--db", queue.path, "--seed", 1)
    assert patchgrid(*submit, *options).exit_code == 0
    assert messages.count(redis.url, [model]) == {model: sent + 3}


def test_waiting_ends_with_the_job_and_its_exit_code(queue: Queue) -> None:
    """3: some pairs failed. The words come at the end."""
    thread = threading.Timer(0.5, queue.measure, [3], {"failed": (1,)})
    thread.start()
    result = queue.job("wait", "--json")
    thread.join()
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert (document["state"], document["pairs"]) == (
        "done",
        {"total": 12, "done": 11, "failed": 1, "skipped": 0},
    )
    assert "Job 1 done: 11 pairs measured, 1 failed" in result.stderr
    assert f"patchgrid job errors 1 --db {queue.path}" in result.stderr


def test_waiting_ends_when_the_job_is_cancelled(queue: Queue) -> None:
    """Exit code 1."""
    thread = threading.Timer(0.3, queue.cancel)
    thread.start()
    result = queue.job("wait")
    thread.join()
    assert result.exit_code == 1
    assert "Job 1 cancelled: 0 of 12 pairs measured" in result.stderr


def test_waiting_too_long_ends_with_124(queue: Queue) -> None:
    """As timeout(1) does, so that a script can tell."""
    result = queue.job("wait", "--timeout", 0.2, "--json")
    assert result.exit_code == 124
    assert "Job 1 is still pending after 0.2 s" in result.stderr
    assert json.loads(result.stdout)["state"] == "pending"


def test_a_paused_job_is_not_waited_for(queue: Queue) -> None:
    """It would never end."""
    queue.job("pause")
    message = "job 1 is paused and would never end; to resume: patchgrid job resume 1"
    assert message in refused(queue.job("wait"))
    again = patchgrid("submit", queue.pairs, "-m", queue.model, "--db", queue.path, "--wait")
    assert message in refused(again)


@pytest.mark.parametrize("command", ["watch", "wait", "pause", "resume", "cancel", "retry"])
def test_an_unknown_job_is_refused(command: str, queue: Queue) -> None:
    """By every command."""
    result = patchgrid("job", command, 99, "--db", queue.path)
    assert "no job '99'" in refused(result)


def test_show_names_workers_that_cannot_load_the_model(queue: Queue) -> None:
    """With the reason and how often they tried; the job waits for one that can."""
    with queue.database() as database:
        for _ in range(2):
            with database.write() as session:
                workers.note_load_failure(session, "node7/1/2", str(queue.model), "no weights in it")
    assert re.search(r"cannot load +node7/1/2: no weights in it \(2 attempts\)", queue.job("show").stdout)
    (failure,) = queue.shown()["load_failures"]
    assert (failure["worker"], failure["attempts"]) == ("node7/1/2", 2)
