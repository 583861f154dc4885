"""Ctrl-C, kill and closed pipes: nothing is lost, and the same command goes on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from patchgrid.cli.terminal.stopping import ASKED, GOES_ON
from patchgrid.storage import Database
from patchgrid.storage.errors import StorageError
from patchgrid.storage.jobs.progress import job_progress
from support.cli.commands import FinishedJob, patchgrid, start, write_pairs
from support.machines.servers import wait_for

PAIRS = 640


def chunks_done(database: Path) -> int:
    """Count the chunks that a job has stored so far; 0 while there is no job."""
    try:
        with Database.open(f"sqlite:///{database}", create=False) as opened, opened.read() as session:
            return job_progress(session, 1).chunks_done
    except StorageError:
        return 0


def wait_for_chunks(process: "subprocess.Popen[str]", database: Path, more_than: int) -> None:
    """Wait until a running command has stored more chunks than before."""
    wait_for(lambda: process.poll() is not None or chunks_done(database) > more_than, 120, every=0.1)
    assert process.poll() is None, process.communicate()


def test_a_run_stopped_and_killed_goes_on_and_gives_the_same_results(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Ctrl-C, then kill -9, then to the end: as if nothing had happened."""
    database, calm = tmp_path / "a.db", tmp_path / "calm.db"
    command = ("run", write_pairs(tmp_path / "pairs.jsonl", PAIRS), "-m", tiny_model, "--exact", 0.2)

    with start(*command, "--db", database) as stopped:
        wait_for_chunks(stopped, database, 0)
        stopped.send_signal(signal.SIGINT)
        _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 1
    assert "stopping after the current batch" in said
    assert said.splitlines()[-1] == "stopped; run the same command again to resume"
    assert "Traceback" not in said
    before = chunks_done(database)

    with start(*command, "--db", database) as killed:
        wait_for_chunks(killed, database, before)
        killed.kill()
        killed.communicate(timeout=60)
    before = chunks_done(database)
    assert before < PAIRS // 64

    ended = patchgrid(*command, "--db", database)
    assert ended.exit_code == 0
    assert f"Job 1 resumed: {before * 64:,} of {PAIRS:,} pairs are done" in ended.stderr
    assert patchgrid(*command, "--db", calm).exit_code == 0
    for what in ("pairs", "exact", "components", "scores"):
        export = ("results", "export", 1, "--what", what, "--db")
        assert patchgrid(*export, database).stdout == patchgrid(*export, calm).stdout


def test_a_second_signal_ends_the_process_there_and_then() -> None:
    """Whatever it is doing."""
    script = (
        "import signal\n"
        "from patchgrid.cli.terminal.stopping import stop_on_signals\n"
        "with stop_on_signals() as stop:\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    assert stop.is_set()\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    signal.pause()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [ASKED, GOES_ON]


def test_resume_goes_on_with_a_stopped_job(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the pair file."""
    database = tmp_path / "a.db"
    pairs = write_pairs(tmp_path / "pairs.jsonl", 100)
    stop_at_once(monkeypatch)
    stopped = patchgrid("run", pairs, "-m", tiny_model, "--db", database)
    assert stopped.exit_code == 1
    assert "Job 1: 0 of 100 pairs measured" in stopped.stderr
    assert "not done: 0 of 100 pairs so far" in patchgrid("results", "top", 1, "--db", database).stderr
    monkeypatch.undo()
    pairs.unlink()
    resumed = patchgrid("job", "resume", "last", "--db", database)
    assert resumed.exit_code == 0, resumed.stderr
    assert "Job 1 done: 100 pairs measured" in resumed.stderr


def stop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C as soon as something was measured."""

    def press(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("patchgrid.cli.terminal.progress._Lines.__call__", press)


def test_a_reader_that_has_enough_ends_the_command_quietly(finished: FinishedJob) -> None:
    """`patchgrid results sql | head` says nothing on stderr."""
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT i FROM n"
    with start("results", "sql", rows, "--format", "csv", "--db", finished.database) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "i\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_full_disk_under_stdout_is_said(finished: FinishedJob) -> None:
    """Not at the interpreter's end, where nobody can catch it."""
    with (
        Path("/dev/full").open("w") as full,
        start("job", "list", "--db", finished.database, stdout=full) as process,
    ):
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.strip() == "Error: standard output: No space left on device"
