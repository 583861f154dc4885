"""`celery -A patchgrid.workers.celery …` as an operator types it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import support.workers.celery_command
from patchgrid.core.queue_name import queue_name
from patchgrid.core.types import JobSpec
from patchgrid.workers.broker import messages
from support.engine.models import TestModel
from support.faults.fleet import ENVIRONMENT
from support.machines.servers import wait_for
from support.workers.celery_workers import NEVER, PASSWORD, Place
from support.workers.gates import DONE
from support.workers.running import chunks, registered, submit_pairs
from support.workers.working import make_pairs, submit

CELERY = [str(Path(sys.executable).with_name("celery")), "-A", "patchgrid.workers.celery"]
STAND_IN = [sys.executable, support.workers.celery_command.__file__, "-A", "patchgrid.workers.celery"]


def environment(place: Place, models: str = "stand-in", **variables: object) -> dict[str, str]:
    """Return the environment of a worker that polls never."""
    # Celery warns of running as root, which tests may.
    ours = {
        "PYTHONWARNINGS": "ignore",
        "PATCHGRID_DB": place.database.url,
        "PATCHGRID_BROKER": place.redis.url,
    }
    settings = {"MODELS": models, "POLL": NEVER, "DEVICE": "cpu"} | variables
    ours |= {f"PATCHGRID_WORKER_{name}": str(value) for name, value in settings.items() if value is not None}
    return {name: value for name, value in ENVIRONMENT.items() if not name.startswith("PATCHGRID_W")} | ours


class Command:
    """A command in a process, and what it prints."""

    def __init__(self, command: list[str], variables: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(command, env=variables, stdout=file, stderr=subprocess.STDOUT)

    def printed(self) -> str:
        """Return what it printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> None:
        """Wait until it takes messages."""
        wait_for(lambda: " ready." in self.printed() or self.process.poll() is not None, 120)
        assert " ready." in self.printed(), self.printed()

    def join(self) -> int:
        """Wait until it has ended; give the exit code."""
        return self.process.wait(120)


@contextmanager
def worker(
    place: Place, *options: str, program: list[str] = STAND_IN, pair_seconds: float = 0.0, **variables: object
) -> Iterator[Command]:
    """Run `celery worker` for a `with` block."""
    command = [*program, "worker", "--loglevel", "INFO", *options]
    values = environment(place, **variables) | {"PAIR_SECONDS": str(pair_seconds)}  # type: ignore[arg-type]
    one = Command(command, values, place.folder / f"celery-{len(list(place.folder.glob('celery-*')))}.log")
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def run(place: Place, *words: str, **variables: object) -> "subprocess.CompletedProcess[str]":
    """Run a command of Celery's to its end."""
    values = environment(place, **variables)  # type: ignore[arg-type]
    return subprocess.run(
        [*CELERY, *words], env=values, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_worker_started_by_hand_works_on_a_real_model(place: Place, tiny: TestModel) -> None:
    """Its settings come from the environment; Celery's commands see it; it ends as it should."""
    model = str(tiny.folder)
    with worker(place, program=CELERY, models=model, LEASE_SECONDS=45, SLICE=20) as one:
        one.wait_until_ready()
        job = submit(place.database, JobSpec(model), make_pairs(8), chunk_size=4)
        messages.send(place.redis.url, model, 2)
        wait_for(lambda: place.is_done(job))
        assert chunks(place.database, job) == [DONE, DONE]
        pong = run(place, "inspect", "ping", "--json", "--timeout", "5")
        assert list(json.loads(pong.stdout.splitlines()[0]).values()) == [{"ok": "pong"}]
        queues = run(place, "inspect", "active_queues", "--timeout", "5", MODELS=None)
        assert queue_name(model) in queues.stdout, "no settings of a worker are needed to look"
        refused = run(place, "control", "pool_restart", "--timeout", "5")
        assert "start the worker with --remote-control" in refused.stdout + refused.stderr
        drained = run(place, "control", "drain", "--timeout", "5")
        assert "exits after the current chunk" in drained.stdout
        assert one.join() == 0
    assert PASSWORD not in one.printed()
    assert "Traceback" not in one.printed()
    [record] = registered(place.database)
    assert (record.models, record.device, record.chunks, record.state) == ((model,), "cpu", 2, "stopped")


def test_queues_may_be_chosen_among_its_models(place: Place) -> None:
    """`-Q`: jobs of the others are left alone, whatever lies on their queues."""
    with worker(place, "-Q", "patchgrid.right", models="left right", IDLE_EXIT=3, POLL=0.2) as one:
        one.wait_until_ready()
        left, right = (place.submit(model=model) for model in ("left", "right"))
        assert one.join() == 0
    assert [place.is_done(job) for job in (left, right)] == [False, True]
    assert messages.count(place.redis.url, ["left", "right"]) == {"left": 1, "right": 0}
    [record] = registered(place.database)
    assert record.models == ("right",)


REFUSED = {
    "no model": ({"MODELS": None}, (), "no model to serve: name one in PATCHGRID_WORKER_MODELS"),
    "number": ({"SLICE": "soon"}, (), "PATCHGRID_WORKER_SLICE must be a number, not 'soon'"),
    "switch": ({"REMOTE_CONTROL": "perhaps"}, (), "PATCHGRID_WORKER_REMOTE_CONTROL must be 1 or 0"),
    "device": ({"DEVICE": "gpu"}, (), "device 'gpu' is not available"),
    "queue": ({}, ("-Q", "patchgrid.other"), "patchgrid.other"),
    "pool": ({}, ("-P", "solo"), "the pool must be threads"),
}


@pytest.mark.parametrize(("variables", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_be_used_end_in_one_line(
    place: Place, variables: dict[str, object], options: tuple[str, ...], said: str
) -> None:
    """Exit code 1 or 2, no trace, nothing registered."""
    refused = run(place, "worker", *options, **variables)
    assert refused.returncode in (1, 2), refused.stderr
    lines = [line for line in refused.stderr.splitlines() if line.strip()]
    assert said in lines[-1]
    assert "Traceback" not in refused.stderr
    assert registered(place.database) == []


@pytest.mark.parametrize("variable", ["PATCHGRID_DB", "PATCHGRID_BROKER"])
def test_addresses_that_cannot_be_used_end_in_one_line(place: Place, variable: str, tmp_path: Path) -> None:
    """Without the password."""
    values = environment(place) | {
        variable: {
            "PATCHGRID_DB": f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}",
            "PATCHGRID_BROKER": f"http://:{PASSWORD}@host/",
        }[variable]
    }
    refused = subprocess.run(
        [*CELERY, "worker"], env=values, capture_output=True, text=True, timeout=120, check=False
    )
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert len([line for line in refused.stderr.splitlines() if line.strip()]) == 1, refused.stderr
    assert PASSWORD not in refused.stderr + refused.stdout


@pytest.mark.parametrize("twice", [False, True])
def test_signals_end_it_as_they_end_ours(place: Place, twice: bool) -> None:
    """One lets it finish its chunk, a second hands the chunk back; exit code 0."""
    with worker(place, pair_seconds=0.25, GRACE=600) as one:
        one.wait_until_ready()
        job = submit_pairs(place.database, 64, chunk_size=8 if not twice else 64)
        messages.send(place.redis.url, "stand-in", 8)
        wait_for(lambda: chunks(place.database, job)[0][0] == "leased")
        one.process.send_signal(signal.SIGTERM)
        if twice:
            time.sleep(0.7)  # within half a second two count as one
            one.process.send_signal(signal.SIGTERM)
        assert one.join() == 0
    found = chunks(place.database, job)
    assert found[0] == (("pending", 0, 1) if twice else DONE)
    assert {state for state, _, _ in found[1:]} == (set() if twice else {"pending"})


def test_a_device_error_ends_it_with_its_code(place: Place) -> None:
    """Which a supervisor restarts it for."""
    with worker(place) as one:
        place.submit(count=4, words={1: "CUDA"})
        assert one.join() == 70
        assert "illegal memory access" in one.printed()


def test_max_chunks_and_idle_exit_end_it_with_code_0(place: Place) -> None:
    """As settings of the environment."""
    with worker(place, MAX_CHUNKS=1) as one:
        job = place.submit(count=8)
        assert one.join() == 0
    assert chunks(place.database, job) == [DONE, ("pending", 0, 0)]
    with worker(place, IDLE_EXIT=1, POLL=0.2) as one:
        assert one.join() == 0
    assert place.is_done(job)
