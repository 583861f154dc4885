"""Celery's remote control of workers: looking at busy ones, draining, and what needs permission."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery.worker.control import Panel

from patchgrid.workers.broker.broker import App, make_app
from patchgrid.workers.celery.control import add_commands
from support.machines.servers import wait_for
from support.workers.celery_workers import QUEUE, Place, wait_for_answer
from support.workers.gates import DONE
from support.workers.running import chunks

#: Seconds within which a busy worker answers.
SOON = 2.0
#: Commands of Celery that stop or change a worker, with arguments that they take.
CHANGES: dict[str, dict[str, Any]] = {
    "shutdown": {},
    "pool_restart": {},
    "pool_grow": {"n": 1},
    "pool_shrink": {"n": 1},
    "autoscale": {"max": 1, "min": 1},
    "add_consumer": {"queue": "patchgrid.other"},
    "cancel_consumer": {"queue": QUEUE},
    "rate_limit": {"task_name": "patchgrid.work", "rate_limit": "1/h"},
    "time_limit": {"task_name": "patchgrid.work", "hard": 1, "soft": 1},
    "revoke": {"task_id": "x"},
    "revoke_by_stamped_headers": {"headers": {"x": "y"}},
    "terminate": {"signal": "KILL", "task_id": "x"},
}


@pytest.fixture
def app(place: Place) -> Iterator[App]:
    """Return an application that asks workers."""
    with make_app(place.redis.url) as opened:
        yield opened


def ask(app: App, command: str, **arguments: Any) -> Any:
    """Return the answer of the only worker, waiting until it can be reached."""
    answers = wait_for_answer(
        lambda: app.control.broadcast(command, arguments, reply=True, timeout=5, limit=1)
    )
    [(_, answer)] = answers[0].items()
    return answer


def test_a_busy_worker_answers_within_two_seconds(place: Place, app: App) -> None:
    """What Flower, exporters and `celery inspect` ask; its slice is among what is active."""
    with place.worker(pair_seconds=0.05) as worker:
        job = place.submit(count=400)
        wait_for(lambda: place.is_held(job, worker))
        ask(app, "ping")
        answers = {}
        for command in (
            "ping",
            "active",
            "stats",
            "active_queues",
            "registered",
            "reserved",
            "report",
            "conf",
        ):
            began = time.monotonic()
            [answers[command]] = app.control.broadcast(command, reply=True, timeout=SOON, limit=1)
            assert time.monotonic() - began < SOON, command
        [(name, pong)] = answers["ping"].items()
        assert (name, pong) == (f"patchgrid-{worker.pid}@{name.partition('@')[2]}", {"ok": "pong"})
        assert [task["name"] for task in answers["active"][name]] == ["patchgrid.work"]
        assert answers["stats"][name]["pool"]["max-concurrency"] == 1
        assert answers["stats"][name]["pid"] == worker.pid
        assert [queue["name"] for queue in answers["active_queues"][name]] == [QUEUE]
        assert "patchgrid.work" in answers["registered"][name]
        assert len(answers["reserved"][name]) <= 2
        assert "swordfish" not in str(answers)


def test_remote_control_ends_and_changes_no_worker(place: Place, app: App) -> None:
    """It is refused in a line each, in the log and in the answer; the worker works on."""
    with place.worker() as worker:
        for command, arguments in CHANGES.items():
            assert ask(app, command, **arguments) == {
                "error": f"{command} is refused: start the worker with --remote-control"
            }
            worker.wait_for_log(f"refused remote control command '{command}'")
        place.work_off()
        assert ask(app, "ping") == {"ok": "pong"}
        assert worker.code is None
        assert "Traceback" not in worker.log()


def test_every_command_that_changes_a_worker_is_known() -> None:
    """A later Celery may add one: it is refused too, and named here."""
    add_commands()
    changing = {name for name, about in Panel.meta.items() if about.type == "control"}
    assert changing - CHANGES.keys() - {"drain"} == {
        "election",
        "enable_events",
        "disable_events",
        "heartbeat",
    }


def test_a_remote_shutdown_that_is_allowed_ends_a_worker(place: Place, app: App) -> None:
    """As SIGTERM does: it finishes its chunk; exit code 0."""
    with place.worker(remote_control=True, pair_seconds=0.05) as worker:
        job = place.submit(count=40)
        wait_for(lambda: place.is_held(job, worker))
        assert ask(app, "ping") == {"ok": "pong"}
        app.control.shutdown()
        assert worker.join() == 0
        assert "exits: stopped" in worker.log()
        assert {state for state, _, _ in chunks(place.database, job)} == {"done", "pending"}


def test_draining_by_remote_control_needs_no_permission(place: Place, app: App) -> None:
    """The worker finishes its chunk and ends; what is left waits, with a message."""
    with place.worker(pair_seconds=0.05) as worker:
        job = place.submit(count=40)
        wait_for(lambda: place.is_held(job, worker))
        assert ask(app, "drain") == {"ok": "exits after the current chunk"}
        assert worker.join() == 0
        assert "exits: drained" in worker.log()
    found = chunks(place.database, job)
    assert DONE in found
    assert set(found) == {DONE, ("pending", 0, 0)}
    assert place.waiting() > 0
