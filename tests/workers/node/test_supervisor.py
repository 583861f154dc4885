"""One process for each GPU: started, started again, told to end, and never left behind."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from patchgrid.workers.node.supervisor import Backoff, supervise
from support.machines.servers import wait_for

#: Notes its GPU and process, does what the file `do` says, and notes the signals that it gets.
CHILD = """
import os, pathlib, queue, signal, sys
folder = pathlib.Path(sys.argv[1])
log = (folder / "log").open("a", buffering=1)
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
told = queue.SimpleQueue()
def note(number, frame):
    told.put(number)
    log.write(f"{gpu} got {signal.Signals(number).name}\\n")
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, note)
log.write(f"{gpu} began {os.getpid()}\\n")
do = (folder / f"do{gpu}").read_text() if (folder / f"do{gpu}").exists() else "exit 0"
if do.startswith("exit"):
    sys.exit(int(do.split()[1]))
if do == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
patience = int(do.split()[1]) if do.startswith("wait") else 1
for _ in range(patience):
    told.get()
log.write(f"{gpu} ended\\n")
"""
#: Runs the supervisor in a process of its own.
PARENT = """
import json, logging, sys
from patchgrid.workers.node.supervisor import Backoff, supervise
logging.basicConfig(level=logging.INFO)
command, devices, first = json.loads(sys.argv[1])
sys.exit(supervise(command, devices, backoff=Backoff(first=first)))
"""


def command(folder: Path) -> list[str]:
    """Return the command of a child."""
    return [sys.executable, "-c", CHILD, str(folder)]


def told(folder: Path) -> list[str]:
    """Return the children's notes."""
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def began(folder: Path, gpu: str) -> list[int]:
    """Return the processes that a GPU has had."""
    return [int(line.split()[2]) for line in told(folder) if line.startswith(f"{gpu} began")]


@contextmanager
def supervised(folder: Path, devices: list[str], first: float = 0.1) -> Iterator["subprocess.Popen[str]"]:
    """Run a supervisor and its children in processes of their own."""
    given = json.dumps([command(folder), devices, first])
    process = subprocess.Popen([sys.executable, "-c", PARENT, given], text=True, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_each_gpu_has_a_process_that_sees_it_alone(tmp_path: Path) -> None:
    """All end well, once."""
    assert supervise(command(tmp_path), ["0", "3", "GPU-abc"]) == 0
    assert sorted(line.split()[0] for line in told(tmp_path)) == ["0", "3", "GPU-abc"]


def test_a_crashed_process_is_started_again_and_one_that_ended_well_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it was killed or gave an exit code."""
    caplog.set_level(logging.INFO)
    (tmp_path / "do0").write_text("crash")
    (tmp_path / "do1").write_text("exit 70")

    def heal() -> None:
        wait_for(lambda: min(len(began(tmp_path, gpu)) for gpu in "01") >= 2)
        for gpu in "01":
            (tmp_path / f"do{gpu}").write_text("exit 0")

    healer = threading.Thread(target=heal)
    healer.start()
    assert supervise(command(tmp_path), ["0", "1", "2"], backoff=Backoff(first=0.1)) == 0
    healer.join()
    assert len(began(tmp_path, "2")) == 1
    assert "the worker of GPU 0 crashed (signal 9)" in caplog.text
    assert "the worker of GPU 1 crashed (exit code 70)" in caplog.text


@pytest.mark.parametrize(
    ("well_after", "waits"), [(300.0, [0.05, 0.1, 0.15, 0.15]), (0.0, [0.05, 0.05, 0.05, 0.05])]
)
def test_the_wait_grows_with_each_crash_and_starts_anew_after_a_good_life(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, well_after: float, waits: list[float]
) -> None:
    """Twice as long each time, up to a bound."""
    (tmp_path / "do0").write_text("exit 1")

    def heal() -> None:
        wait_for(lambda: len(began(tmp_path, "0")) == len(waits))
        (tmp_path / "do0").write_text("wait 1")
        wait_for(lambda: len(began(tmp_path, "0")) > len(waits))
        os.kill(began(tmp_path, "0")[-1], signal.SIGTERM)

    healer = threading.Thread(target=heal)
    healer.start()
    backoff = Backoff(first=0.05, most=0.15, well_after=well_after)
    assert supervise(command(tmp_path), ["0"], backoff=backoff) == 0
    healer.join()
    crashes = [record.args for record in caplog.records if "crashed" in record.getMessage()]
    assert [args[-1] for args in crashes if isinstance(args, tuple)] == waits


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signals_are_passed_on_and_nothing_is_started_any_more(tmp_path: Path, name: str) -> None:
    """Every child ends by itself; the exit code is 0."""
    for gpu in "01":
        (tmp_path / f"do{gpu}").write_text("wait 1")
    with supervised(tmp_path, ["0", "1"]) as process:
        wait_for(lambda: len(told(tmp_path)) == 2)
        process.send_signal(getattr(signal, name))
        assert process.wait(10) == 0
    assert sorted(told(tmp_path)[2:]) == sorted(
        line for gpu in "01" for line in (f"{gpu} got {name}", f"{gpu} ended")
    )


def test_a_second_signal_is_passed_on_too(tmp_path: Path) -> None:
    """A child that takes its time is told again."""
    (tmp_path / "do0").write_text("wait 2")
    with supervised(tmp_path, ["0"]) as process:
        wait_for(lambda: len(told(tmp_path)) == 1)
        process.terminate()
        wait_for(lambda: len(told(tmp_path)) == 2)
        assert process.poll() is None
        process.terminate()
        assert process.wait(10) == 0
    assert told(tmp_path).count("0 got SIGTERM") == 2


def test_a_child_that_waits_to_be_started_again_is_not(tmp_path: Path) -> None:
    """Told to end between a crash and the next start."""
    (tmp_path / "do0").write_text("exit 1")
    with supervised(tmp_path, ["0"], first=30.0) as process:
        wait_for(lambda: len(told(tmp_path)) == 1)
        time.sleep(0.5)
        process.terminate()
        assert process.wait(5) == 1
    assert len(began(tmp_path, "0")) == 1


def test_a_child_that_fails_when_told_to_end_gives_its_exit_code(tmp_path: Path) -> None:
    """And is not started again."""
    (tmp_path / "do0").write_text("wait 3")
    with supervised(tmp_path, ["0"]) as process:
        wait_for(lambda: len(told(tmp_path)) == 1)
        process.terminate()
        wait_for(lambda: len(told(tmp_path)) == 2)
        os.kill(began(tmp_path, "0")[0], signal.SIGKILL)
        assert process.wait(5) == 128 + 9
    assert len(began(tmp_path, "0")) == 1


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """They are told so by the kernel, and end as if told by it."""
    for gpu in "01":
        (tmp_path / f"do{gpu}").write_text("wait 1")
    with supervised(tmp_path, ["0", "1"]) as process:
        wait_for(lambda: len(told(tmp_path)) == 2)
        process.kill()
        wait_for(lambda: len(told(tmp_path)) == 6, 10)
    pids = [began(tmp_path, gpu)[0] for gpu in "01"]
    wait_for(lambda: not any(psutil.pid_exists(pid) and alive(pid) for pid in pids), 10)


def alive(pid: int) -> bool:
    """Tell whether a process has not ended, though nobody has collected it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_no_zombie_is_left(tmp_path: Path) -> None:
    """Each child that ended is collected, while others still run."""
    (tmp_path / "do1").write_text("wait 1")
    with supervised(tmp_path, ["0", "1"]) as process:
        wait_for(lambda: len(told(tmp_path)) == 2)
        children = psutil.Process(process.pid).children
        wait_for(lambda: [child.pid for child in children()] == began(tmp_path, "1"), 10)
        process.terminate()
        assert process.wait(10) == 0


def test_handlers_are_put_back(tmp_path: Path) -> None:
    """Whoever called it goes on as before."""
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    before = [signal.getsignal(number) for number in numbers]
    supervise(command(tmp_path), ["0"])
    assert [signal.getsignal(number) for number in numbers] == before
