"""Watching a job: a live screen, lines, or JSON."""

import io
import json
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from patchgrid.api.client.backends.database_following import follow
from patchgrid.api.client.pace import Speed
from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import say
from patchgrid.cli.views import watching
from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseUnavailable
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.queue import control, workers
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.workers import (
    LoadFailure,
    WorkerInfo,
    WorkerRecord,
    WorkerStatus,
)
from support.cli.commands import patchgrid, start, write_pairs
from support.storage.leasing import claim, finish

SETTINGS = Settings("sqlite:///patchgrid.db", json=False)


def worker(number: int) -> WorkerRecord:
    """Return a worker that is measuring."""
    status: dict[str, Any] = {"state": "working", "message": None, "loaded": ("m",), "job_id": 3}
    status |= {"chunk_id": number, "memory_used": 2 * 10**10, "memory_total": 8 * 10**10, "chunks": 4}
    status |= {"pairs": 256, "pairs_per_second": 12.5, "lease_losses": 0, "takeovers": 0, "failures": {}}
    name = f"gpu-node-{number:03}.cluster/12345/1795356172"
    there = {
        "id": number,
        "name": name,
        "host": name.split("/")[0],
        "pid": 12345,
        "device": "cuda:0",
        "models": ("m",),
    }
    times = {"started_at": 0.0, "seen_at": 0.0, "drain": False, "seen_ago": 1.0, "lost": False}
    return WorkerRecord(**there, **times, **status)


def snapshot(
    done: int = 0,
    *,
    state: str = "running",
    at_work: Sequence[WorkerRecord] = (),
    serving: int = 0,
    failures: Sequence[LoadFailure] = (),
    leased: int | None = None,
) -> Snapshot:
    """Return a job of 100 chunks of 64 pairs, `done` of them done."""
    leased = len(at_work) if leased is None else leased
    job = JobRecord(
        *(3, "key", "night", JobSpec(model="/models/llama"), state, (), 6400, 64, 0, 0.0, 0.0, None, None)
    )
    counts = {"chunks_done": done, "chunks_leased": leased, "chunks_pending": 100 - done - leased}
    counts |= {"chunks_total": 100, "chunks_failed": 0, "chunks_held": 0}
    progress = Progress(total=6400, done=64 * done, failed=0, skipped=0, **counts)
    return Snapshot(job, progress, tuple(at_work), serving, tuple(failures))


def screen(found: Snapshot, *, width: int = 80) -> str:
    """Return the text of the live screen."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, markup=False, highlight=False)
    console.print(Group(*watching.screen_parts(SETTINGS, found, Speed().pace(found))))
    text = stream.getvalue()
    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width
    return text


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_has_counts_speed_and_workers(width: int) -> None:
    """Within the terminal's width; more workers than fit are counted."""
    text = screen(snapshot(25, at_work=[worker(n) for n in range(1, 11)], serving=12), width=width)
    assert "Job 3 (night) running, llama" in text
    assert "1,600 of 6,400 pairs, 125.0 pairs/s, 38 s left" in text
    assert "chunks: 25 done, 10 leased, 65 pending" in text
    assert "gpu-node-001" in text
    assert "chunk 8" in text
    assert "and 2 more: patchgrid worker list" in text


def test_the_screen_says_why_nothing_happens() -> None:
    """No worker, none that is free, one that cannot load it, a pause, or somebody else at it."""
    assert "No worker serves its model: patchgrid worker start --model /models/llama" in screen(snapshot())
    assert "No worker on it (2 serve its model)" in screen(snapshot(serving=2))
    failed = LoadFailure("gpu7", "/models/llama", "out of memory", 0.0, 2)
    assert "gpu7 cannot load the model: out of memory" in screen(snapshot(serving=1, failures=[failed]))
    assert "Paused; to resume: patchgrid job resume 3" in screen(snapshot(state="paused"))
    assert "leased to a process that is not a worker" in screen(snapshot(leased=1)).lower()
    assert "No worker" not in screen(snapshot(100, state="done"))


def test_the_speed_is_that_of_the_last_minute() -> None:
    """Before anything was seen to finish, what the workers say."""
    clock = [0.0]
    speed = Speed(lambda: clock[0])
    assert speed.pace(snapshot(0)).rate is None
    assert speed.pace(snapshot(0, at_work=[worker(1), worker(2)])).rate == 25
    clock[0] = 10
    assert speed.pace(snapshot(5)).rate == 32
    for second in range(20, 200, 10):
        clock[0] = second
        pace = speed.pace(snapshot(5 + second // 20))
    assert pace.rate == pytest.approx(64 / 20, rel=0.2)


def test_a_database_that_is_away_is_asked_again(
    tiny_model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """One line for it, however long it takes."""
    path = tmp_path / "a.db"
    patchgrid("submit", pairs, "-m", tiny_model, "--db", path)
    with Database.open(f"sqlite:///{path}") as database:
        with database.write() as session:
            control.cancel(session, 1)
        read, calls = database.read, iter([True, True, False])

        def away() -> Any:
            if next(calls):
                raise DatabaseUnavailable("database x: it does not answer")
            return read()

        monkeypatch.setattr(database, "read", away)
        (found,) = follow(database, 1, every=0.01, say=say)
    assert found.job.state == "cancelled"
    assert capsys.readouterr().err.count("it does not answer; retrying") == 1


class Worked:
    """A job that a thread works off, a chunk at a time."""

    def __init__(self, path: Path, pairs: Path, model: Path) -> None:
        self.path = path
        submit = ("submit", pairs, "-m", model, "--chunk-size", 4, "--db", path)
        assert patchgrid(*submit).exit_code == 0
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with Database.open(f"sqlite:///{self.path}") as database:
            with database.write() as session:
                number = workers.register(session, WorkerInfo("hand", "here", 1, "cpu", ("m",)))
                job = jobs.get(session, 1)
            for _ in range(3):
                lease = claim(database, "hand")
                status = WorkerStatus("working", job_id=1, chunk_id=lease.chunk_id, pairs_per_second=4.0)
                with database.write() as session:
                    workers.beat(session, number, status)
                time.sleep(1.2)
                assert finish(database, job, lease, failed=(2,))

    def watched(self, *options: object) -> Any:
        """Watch it while it is worked off."""
        self._thread.start()
        result = patchgrid("job", "watch", 1, "--db", self.path, *options)
        self._thread.join()
        return result


@pytest.fixture
def worked(tiny_model: Path, tmp_path: Path) -> Worked:
    """Return a job of twelve pairs in three chunks."""
    return Worked(tmp_path / "a.db", write_pairs(tmp_path / "pairs.jsonl", 12), tiny_model)


def test_each_change_is_a_json_document_on_a_line(worked: Worked) -> None:
    """Counts only grow, the last is the end; the exit code is the job's."""
    result = worked.watched("--json")
    assert result.exit_code == 3
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["state"] for line in lines][-1] == "done"
    done = [line["pairs"]["done"] for line in lines]
    assert done == sorted(done)
    assert len(lines) >= 4
    assert any(line["workers"] == ["hand"] and line["chunks"]["leased"] == 1 for line in lines)
    assert any(line["pairs_per_second"] and line["seconds_left"] for line in lines[:-1])
    assert lines[-1]["pairs"] == {"total": 12, "done": 11, "failed": 1, "skipped": 0}
    assert lines[-1]["chunks"]["done"] == 3


def test_a_pipe_gets_a_line_now_and_then(worked: Worked, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, pairs, chunks, workers; what to look at next goes to stderr."""
    monkeypatch.setattr(watching, "LINE_EVERY", 0.5)
    result = worked.watched()
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert any(line.startswith("running: ") and line.endswith("; 1 worker") for line in lines), lines
    assert lines[-1].startswith("done: 12 of 12 pairs, ")
    assert lines[-1].endswith("1 failed; chunks: 3 done")
    assert f"patchgrid results top 1 --db {worked.path}" in result.stderr


def test_ctrl_c_ends_the_watching_only(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The job goes on; the exit code is the shell's for Ctrl-C."""
    path = tmp_path / "a.db"
    patchgrid("submit", pairs, "-m", tiny_model, "--db", path)
    with start("job", "watch", 1, "--db", path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("pending: 0 of 4 pairs")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines() == ["Stopped watching; job 1 continues"]
    assert patchgrid("job", "wait", 1, "--timeout", 0, "--db", path).exit_code == 124
