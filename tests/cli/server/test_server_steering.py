"""Submitting, following and steering jobs through a server."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import control
from support.api.http_servers import wire
from support.api.serving import Server, serving
from support.cli.commands import FinishedJob, patchgrid, refused, start, write_pairs
from support.storage.leasing import claim, finish

HUB = "org/model"


class Queue:
    """A served database, and words for what happens to its jobs."""

    def __init__(self, database: Path, server: Server, model: Path) -> None:
        self.database, self.server, self.model = database, server, model

    def ask(self, *arguments: object, text: str | None = None) -> Any:
        """Run a command through the server."""
        return patchgrid(*arguments, "--server", self.server.url, text=text)

    def ask_json(self, *arguments: object) -> Any:
        """Run a command and read the JSON that it prints."""
        result = self.ask(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def submit(self, pairs: object, *options: object, text: str | None = None) -> Any:
        """Submit pairs."""
        return self.ask("submit", pairs, "-m", self.model, *options, text=text)

    def open(self) -> Database:
        """Open the database."""
        return Database.open(f"sqlite:///{self.database}")

    def measure(self, chunks: int = 1, *, failed: tuple[int, ...] = ()) -> None:
        """Measure chunks, as a worker would."""
        with self.open() as database:
            for _ in range(chunks):
                lease = claim(database)
                with database.read() as session:
                    job = jobs.get(session, lease.job_id)
                assert finish(database, job, lease, failed=failed)


@pytest.fixture
def queue(tiny_model: Path, tmp_path: Path) -> Iterator[Queue]:
    """Serve an empty database."""
    with serving(str(tmp_path / "queue.db"), "-m", tiny_model, "-m", HUB) as server:
        yield Queue(tmp_path / "queue.db", server, tiny_model)


def test_a_job_is_sent_once_and_what_comes_next_is_said(queue: Queue, tmp_path: Path) -> None:
    """As without a server, but for the wake-up, which the server sends."""
    pairs = write_pairs(tmp_path / "a.jsonl", 100)
    options = ("--name", "mine", "--chunk-size", 30, "--priority", 5, "--exact", 0.1)
    result = queue.submit(pairs, *options)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "Job 1 (mine) is on the queue: 100 pairs in 4 chunks" in result.stderr
    assert f"workers load the model from the same path as here: {queue.model}" in result.stderr
    worker = f"patchgrid worker start --model {queue.model} --db URL (the server's database)"
    start_worker = f"No worker serves this model now: {worker}\n"
    assert start_worker in result.stderr, "which no server does"
    assert f"patchgrid job watch 1 --server {queue.server.url}" in result.stderr
    assert "broker" not in result.stderr
    again = json.loads(queue.submit(pairs, *options, "--json").stdout)
    assert (again["job"], again["created"], again["priority"], again["chunks"]) == (1, False, 5, 4)
    local = patchgrid("submit", pairs, "-m", queue.model, *options, "--db", queue.database, "--json")
    assert json.loads(local.stdout) == again, "the key is the same without a server"


def test_pairs_come_from_standard_input_and_from_any_format(queue: Queue, tmp_path: Path) -> None:
    """And only as many as --limit says."""
    pairs = write_pairs(tmp_path / "a.jsonl", 9)
    first = queue.submit("-", "--limit", 5, "--json", text=pairs.read_text())
    assert json.loads(first.stdout)["pairs"]["total"] == 5, first.stderr
    assert json.loads(queue.submit(pairs, "--limit", 5, "--json").stdout)["created"] is False
    table = tmp_path / "b.csv"
    table.write_text("clean,corrupted,correct,incorrect\na b,a c,x,y\n")
    (job,) = queue.ask_json("job", "list")
    assert queue.submit(table, "--name", "table").exit_code == 0
    assert queue.ask_json("job", "show", "table")["pairs"]["total"] == 1
    assert job["pairs"]["total"] == 5


def test_bad_pairs_and_settings_are_refused_here(queue: Queue, tmp_path: Path) -> None:
    """Each line named as without a server, and nothing sent."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"clean": "a"}\n[]\n')
    local = patchgrid("submit", bad, "-m", HUB, "--db", tmp_path / "x.db")
    result = queue.submit(bad)
    assert (result.exit_code, result.stderr) == (2, local.stderr)
    assert f"{bad}:2: must be a JSON object" in result.stderr
    assert "unknown site" in refused(queue.submit(write_pairs(bad, 3), "--sites", "heads"))
    assert queue.ask_json("job", "list") == []


def test_a_model_that_is_not_allowed_is_refused(queue: Queue, pairs: Path) -> None:
    """With those that are."""
    said = refused(queue.ask("submit", pairs, "-m", "other/model"))
    assert "'other/model' is not allowed here" in said
    assert HUB in said


def test_a_key_of_ones_own_is_refused_for_other_pairs(queue: Queue, pairs: Path, tmp_path: Path) -> None:
    """By the server, in the words of the database."""
    assert queue.submit(pairs, "--key", "mine").exit_code == 0
    assert queue.submit(pairs, "--key", "mine").exit_code == 0
    other = write_pairs(tmp_path / "other.jsonl", 6)
    assert "the key 'mine' belongs to job 1, which has different pairs" in refused(
        queue.submit(other, "--key", "mine")
    )


def test_jobs_are_paused_resumed_cancelled_tried_again_and_deleted(queue: Queue, tmp_path: Path) -> None:
    """As without a server, in all states."""
    pairs = write_pairs(tmp_path / "a.jsonl", 12)
    queue.submit(pairs, "--name", "mine", "--chunk-size", 4)
    queue.measure()
    paused = queue.ask("job", "pause", "mine")
    assert "Job 1 is paused: 4 of 12 pairs measured" in paused.stderr
    assert "is paused and would never end" in refused(queue.ask("job", "wait", 1))
    assert "omit --here to let its workers resume it" in refused(queue.ask("job", "resume", 1, "--here"))
    assert queue.ask_json("job", "resume", "last") == {"job": 1, "state": "running"}
    assert "its workers run it" in refused(queue.ask("job", "resume", 1))
    assert queue.ask_json("job", "cancel", 1) == {"job": 1, "state": "cancelled"}
    assert queue.ask("job", "wait", 1).exit_code == 1
    assert "is cancelled" in refused(queue.ask("job", "pause", 1))
    assert queue.ask_json("job", "retry", 1) == {"job": 1, "state": "running", "chunks": 2}
    assert queue.ask_json("job", "retry", 1)["chunks"] == 0
    asked = patchgrid("job", "delete", 1, "--server", queue.server.url, text="n\n")
    assert asked.exit_code == 1
    assert queue.ask_json("job", "delete", 1, "--yes") == {"deleted": 1}
    assert refused(queue.ask("job", "show", 1)) == "Error: no job '1': see `patchgrid job list`"
    assert queue.submit(pairs, "--name", "mine").exit_code == 0, "the same pairs make a new job"
    assert queue.ask_json("job", "show", "mine")["job"] == 2


def test_a_job_of_any_name_is_found(queue: Queue, pairs: Path) -> None:
    """With blanks and percents; with slashes, which no server takes, too."""
    for number, name in enumerate(("a/b", "..", "50 % of it?", "späť#1"), start=1):
        local = ("-m", queue.model, "--name", name, "--seed", number, "--db", queue.database)
        assert patchgrid("submit", pairs, *local).exit_code == 0
        assert queue.ask_json("job", "show", name)["job"] == number
    assert "choose a name without '/'" in refused(queue.submit(pairs, "--name", "a/c", "--seed", 9))
    assert "no job ''" in refused(queue.ask("job", "show", ""))


def test_waiting_ends_with_the_job_or_with_the_time(queue: Queue, tmp_path: Path) -> None:
    """By its exit code; 124 where the time runs out, though nothing happens meanwhile."""
    queue.submit(write_pairs(tmp_path / "a.jsonl", 12), "--chunk-size", 4)
    late = queue.ask("job", "wait", 1, "--timeout", 1.5)
    assert late.exit_code == 124
    assert "Job 1 is still pending after 1.5 s" in late.stderr
    worker = threading.Timer(1.0, queue.measure, kwargs={"chunks": 3, "failed": (2,)})
    worker.start()
    result = queue.ask("job", "wait", 1, "--json")
    worker.join()
    assert result.exit_code == 3
    assert json.loads(result.stdout)["pairs"] == {"total": 12, "done": 11, "failed": 1, "skipped": 0}
    assert "Job 1 done: 11 pairs measured, 1 failed" in result.stderr


def test_each_change_is_a_json_document_on_a_line(queue: Queue, tmp_path: Path) -> None:
    """Also where the wire to the server is cut again and again: nothing is told twice, one line says so."""
    queue.submit(write_pairs(tmp_path / "a.jsonl", 12), "--chunk-size", 4)
    with wire(queue.server.port) as between:
        watching = start("job", "watch", 1, "--json", "--server", between.url)
        with watching as process:
            assert process.stdout is not None
            lines = [json.loads(process.stdout.readline())]
            for _ in range(3):
                between.cut_all()
                queue.measure()
                lines.append(json.loads(process.stdout.readline()))
            rest, said = process.communicate(timeout=60)
    lines += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0, said
    assert [line["pairs"]["done"] for line in lines] == [0, 4, 8, 12]
    assert lines[-1]["state"] == "done"
    assert 1 <= said.count("retrying") <= 3
    assert "Traceback" not in said


def test_a_job_that_is_deleted_ends_the_watching(queue: Queue, pairs: Path) -> None:
    """With a line, as without a server."""
    queue.submit(pairs)
    with start("job", "watch", 1, "--server", queue.server.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("pending: 0 of 4 pairs")
        with queue.open() as database, database.write() as session:
            jobs.delete(session, 1)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.splitlines()[-1] == "Error: job 1 was deleted"


def test_submit_waits_and_shows_the_results(finished: FinishedJob, tmp_path: Path) -> None:
    """Those that `run` shows; a real worker measures."""
    database = tmp_path / "queue.db"
    with serving(str(database), "-m", finished.model) as server:
        budget = ("--exact", 0.3, "--exact-per-component", 30)
        options = (*budget, "--detail", "positions", "--chunk-size", 64)
        command = ("submit", finished.pairs, "-m", finished.model, *options)
        sites = ("--sites", "z,mlp_out,resid_post")
        worker = start(
            "worker", "start", "-m", finished.model, "--db", database, "--max-chunks", 1, "--poll", 0.2
        )
        with worker:
            result = patchgrid(*command, *sites, "--wait", "--json", "--server", server.url)
            worker.communicate(timeout=120)
        assert result.exit_code == 3, result.stderr
        found = json.loads(result.stdout)
        local = patchgrid("run", *command[1:], *sites, "--json", "--db", finished.database)
        expected = json.loads(local.stdout)
        assert [row["component"] for row in found["top"]] == [row["component"] for row in expected["top"]]
        for name in ("pairs", "key", "errors", "warnings"):
            assert found[name] == expected[name]
        words = patchgrid(*command, *sites, "--wait", "--server", server.url)
        assert "pair pair-10: " in words.stderr
        assert "Scores against exact patching" in words.stdout


def test_a_cancelled_job_ends_the_waiting(queue: Queue, pairs: Path) -> None:
    """Whoever cancels it."""
    queue.submit(pairs)

    def cancel() -> None:
        with queue.open() as database, database.write() as session:
            control.cancel(session, 1)

    timer = threading.Timer(0.5, cancel)
    timer.start()
    assert queue.ask("job", "wait", 1).exit_code == 1
    timer.join()
