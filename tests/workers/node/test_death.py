"""`kill -9` of a run, at every point of a small job and at random moments of a larger one."""

import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

import support.workers.dying
from patchgrid.cli import main
from patchgrid.storage.output.export import FIELDS
from support.engine.models import TestModel
from support.machines.servers import wait_for
from support.workers.working import LONG_ANSWER, MISMATCHED, make_pairs

#: Exit code of a run in which some pairs failed.
SOME_FAILED = 3
#: One thread a process, so that two runs differ in nothing.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def kill_at_points(tiny: TestModel, folder: Path, which: str) -> dict[str, list[str]]:
    """Let a small job be killed at points of its work, each time anew, and be gone on with."""
    program = [sys.executable, support.workers.dying.__file__, str(tiny.folder), str(folder), which]
    ended = subprocess.run(program, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, list[str]] = json.loads(ended.stdout)
    assert found["rows"] == {"scores": 75, "exact": 75, "components": 15, "pairs": 6, "problems": 0}
    return found


def test_a_run_killed_while_it_writes_goes_on_as_if_nothing_had_happened(
    tiny: TestModel, tmp_path: Path
) -> None:
    """Killed before each kind of insert, before and after a commit, and while measuring."""
    found = kill_at_points(tiny, tmp_path, "some")
    for part in ("INTO pair", "INTO exact", "INTO total", "UPDATE chunk", "commit", "committed", "progress"):
        assert any(part in point for point in found["killed_at"]), part
    assert not found["differing"]


@pytest.mark.slow
def test_a_run_killed_at_any_point_goes_on_as_if_nothing_had_happened(
    tiny: TestModel, tmp_path: Path
) -> None:
    """Every statement, every commit, every report of progress, from the empty file on."""
    found = kill_at_points(tiny, tmp_path, "all")
    assert found["killed_at"] == found["points"]
    assert len(found["points"]) > 100
    assert not found["differing"]


@dataclass(frozen=True)
class Command:
    """One `patchgrid run` on one database, started again as often as it is killed."""

    folder: Path
    #: The database's file.
    database: Path
    #: Further options.
    options: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command as a shell would."""
        run = ["run", "pairs.jsonl", "-m", "gpt2", "--sites", "z,resid_mid,mlp_out", "--batch-tokens", "128"]
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "patchgrid.cli",
                "--db",
                f"sqlite:///{self.database}",
                *run,
                *self.options,
            ],
            cwd=self.folder,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def invoke(self, *arguments: str) -> bytes:
        """Return the output of another command."""
        result = CliRunner().invoke(main, ["--db", f"sqlite:///{self.database}", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout_bytes

    def chunks(self) -> list[tuple[str, str | None]]:
        """Return each chunk's state and worker; called only while a run has the database open."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            try:
                return connection.execute("SELECT state, worker FROM chunk").fetchall()
            except sqlite3.OperationalError:  # the tables are still to be made
                return []

    def wait_for_lease(
        self, process: subprocess.Popen[bytes], seconds: float = math.inf
    ) -> list[tuple[str, str | None]]:
        """Wait until a run holds a chunk, or so many seconds; give the chunks."""
        end = time.monotonic() + seconds

        def held() -> bool:
            assert process.poll() is None, "the run ended before it held a chunk"
            return any(f"/{process.pid}/" in (who or "") for _, who in self.chunks())

        wait_for(lambda: time.monotonic() >= end or held(), math.inf)
        return self.chunks()

    def write_ahead_log(self) -> int:
        """Return when the write-ahead log was last changed, in nanoseconds."""
        return Path(f"{self.database}-wal").stat().st_mtime_ns


@dataclass(frozen=True)
class Timing:
    """How long the parts of a run take, in seconds."""

    #: From its start until it holds a chunk.
    startup: float
    #: From one chunk to the next.
    chunk: float


def prepare(tiny: TestModel, folder: Path, count: int) -> None:
    """Lay out a model and a pair file, two pairs of which cannot be measured."""
    (folder / "gpt2").symlink_to(tiny.folder)
    pairs = make_pairs(count - 2)
    pairs[count // 3 : count // 3] = [MISMATCHED, LONG_ANSWER]
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for number, pair in enumerate(pairs):
            row = {"id": pair.id or f"pair {number}", "clean": pair.clean, "corrupted": pair.corrupted}
            file.write(json.dumps(row | {"correct": pair.correct, "incorrect": pair.incorrect}) + "\n")


def run_undisturbed(command: Command) -> Timing:
    """Run the command from its start to its end."""
    began = time.monotonic()
    process = command.start()
    chunks = command.wait_for_lease(process)
    startup = time.monotonic() - began
    assert process.wait(timeout=600) == SOME_FAILED
    return Timing(startup, (time.monotonic() - began - startup) / len(chunks))


def kill(command: Command, phase: str, kills_left: int, timing: Timing, rng: random.Random) -> str:
    """Start the command and kill it at a random moment of a phase; say how far it was."""
    process = command.start()
    if phase == "starting":
        chunks = command.wait_for_lease(process, rng.uniform(0, timing.startup))
    else:
        chunks = command.wait_for_lease(process)
        # Some must be left for the kills to come: a run that ends before it is killed shows nothing.
        reach = min(0.8, 1.5 / (kills_left + 1)) * sum(state != "done" for state, _ in chunks)
        if phase == "measuring":
            wait_while_measuring(command, rng.uniform(0, reach) * timing.chunk, done(chunks) + reach)
        else:
            wait_for_writes(process, command.write_ahead_log, rng.randint(1, max(1, int(2 * reach))))
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL, f"the run ended before it was killed while {phase}"
    return f"{phase}, begun with {done(chunks)} of {len(chunks)} chunks done"


def done(chunks: Sequence[tuple[str, str | None]]) -> int:
    """Count the chunks that are done."""
    return sum(state == "done" for state, _ in chunks)


def wait_while_measuring(command: Command, seconds: float, most: float) -> None:
    """Wait so many seconds, or until so many chunks are done."""
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end or done(command.chunks()) >= most, math.inf)


def wait_for_writes(process: subprocess.Popen[bytes], changed: Callable[[], int], count: int) -> None:
    """Wait, without a pause, until a file is written to for the `count`-th time: a claim or a commit."""
    for _ in range(count):
        before = changed()
        while changed() == before and process.poll() is None:
            pass


def assert_kills_leave_no_trace(
    tiny: TestModel,
    folder: Path,
    count: int,
    phases: Sequence[str],
    seed: int,
    options: tuple[str, ...] = (),
) -> Command:
    """Compare every exported byte of a run that was killed in these phases with a run that was not."""
    prepare(tiny, folder, count)
    undisturbed, killed = (
        Command(folder, folder / f"{name}.db", options) for name in ("undisturbed", "killed")
    )
    timing, rng = run_undisturbed(undisturbed), random.Random(seed)
    for number, phase in enumerate(phases):
        moment = kill(killed, phase, len(phases) - number - 1, timing, rng)
        sys.stdout.write(f"killed while {moment}\n")
    assert killed.start().wait(timeout=600) == SOME_FAILED
    killed.invoke("db", "check")
    for what in FIELDS:
        expected = undisturbed.invoke("results", "export", "last", "--what", what)
        assert len(expected.splitlines()) >= (18 if what == "components" else 0.8 * count)
        assert killed.invoke("results", "export", "last", "--what", what) == expected, what
    shown = [json.loads(each.invoke("job", "show", "last", "--json")) for each in (undisturbed, killed)]
    for part in ("pairs", "task"):
        assert [counts(document[part]) for document in shown] == [counts(shown[0][part])] * 2, part
    return killed


def counts(document: dict[str, object]) -> dict[str, int]:
    """Return the whole numbers of a document."""
    return {name: value for name, value in document.items() if isinstance(value, int)}


def test_kills_of_the_command_leave_no_trace(tiny: TestModel, tmp_path: Path) -> None:
    """Killed as it starts, measures and writes; each time the same command goes on."""
    assert_kills_leave_no_trace(tiny, tmp_path, 200, ["measuring", "starting", "writing"], seed=1)


def test_kills_of_a_run_that_skips_pairs_leave_no_trace(tiny: TestModel, tmp_path: Path) -> None:
    """The same pairs are skipped, and as many are counted."""
    killed = assert_kills_leave_no_trace(
        tiny, tmp_path, 140, ["measuring", "writing"], seed=4, options=("--only-correct",)
    )
    pairs = json.loads(killed.invoke("job", "show", "last", "--json"))["pairs"]
    assert pairs["failed"] == 2
    assert pairs["skipped"] > 10
    assert pairs["done"] > 10


@pytest.mark.slow
def test_twenty_kills_of_a_long_run_leave_no_trace(tiny: TestModel, tmp_path: Path) -> None:
    """The same with 2,000 pairs: six times as it starts, seven as it measures, seven as it writes."""
    phases = ["starting"] * 6 + ["measuring"] * 7 + ["writing"] * 7
    random.Random(2).shuffle(phases)
    assert_kills_leave_no_trace(tiny, tmp_path, 2000, phases, seed=3)
