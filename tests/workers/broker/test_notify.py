"""Wake-ups through a real Redis: sent, received, missed, forged, and with the server gone."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from patchgrid.workers.broker.notify import WakeUps, notify

from patchgrid.workers.broker.broker import CHANNEL, EXCHANGE, make_app
from support.machines.servers import Redis, redis_server, wait_for
from support.workers.listeners import PASSWORD, connected_wake_ups, listening, ours, server, wake_ups

__all__ = ["listening", "server", "wake_ups"]

#: Redis's channel of the wake-ups.
TOPIC = f"/0.{CHANNEL}/{CHANNEL}"


def publish(server: Redis, payload: bytes) -> None:
    """Publish something on the wake-up channel; somebody must be listening."""
    with server.client() as client:
        assert client.publish(TOPIC, payload) == 1


def message(**changed: Any) -> bytes:
    """Return a message as Celery sends one, with some parts changed."""
    return json.dumps(
        {
            "body": json.dumps([[], {"job": 1}, {}]),
            "headers": {"task": "patchgrid.notify", "id": "some-id", "lang": "py"},
            "properties": {
                "delivery_info": {"exchange": CHANNEL, "routing_key": CHANNEL},
                "delivery_tag": "some-tag",
                "correlation_id": "some-id",
            },
            "content-type": "application/json",
            "content-encoding": "utf-8",
        }
        | changed
    ).encode()


def test_a_wake_up_reaches_every_worker(server: Redis, wake_ups: WakeUps) -> None:
    """Two listen, one wake-up is sent: both wake, once."""
    with connected_wake_ups(server.url) as other:
        notify(server.url, 17)
        assert wake_ups.wait(5)
        assert other.wait(5)
        assert not wake_ups.wait(0.2), "one wake-up arrived twice"


def test_waiting_without_a_wake_up_takes_the_given_time(wake_ups: WakeUps) -> None:
    """No less, and not for ever."""
    began = time.monotonic()
    assert not wake_ups.wait(0.2)
    assert time.monotonic() - began >= 0.2


def test_a_wake_up_sent_while_nobody_waited_is_received_once(server: Redis, wake_ups: WakeUps) -> None:
    """Three of them are one."""
    for _ in range(3):
        notify(server.url, 1)
    time.sleep(0.3)
    assert wake_ups.wait(0)
    assert not wake_ups.wait(0.1)


def test_without_a_broker_wake_ups_stay_in_this_process() -> None:
    """Nothing is started, and it wakes whoever waits; from a signal handler, too."""
    wake_ups = WakeUps(None)
    wake_ups.start()
    assert wake_ups.connected is None
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: wake_ups.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert wake_ups.wait(10)
    finally:
        signal.signal(signal.SIGALRM, before)
    wake_ups.stop()


def test_a_message_holds_the_job_s_number_and_nothing_else(server: Redis, wake_ups: WakeUps) -> None:
    """JSON, no pickle, no prompt, no URL."""
    with server.client() as client, client.pubsub() as listener:
        listener.psubscribe("*")
        assert listener.get_message(timeout=5)
        notify(server.url, 4711)
        found = listener.get_message(timeout=5)
        assert found is not None
    assert wake_ups.wait(5)  # so that no later test hears this one
    sent = json.loads(found["data"])
    assert sent["content-type"] == "application/json"
    assert sent["headers"]["ignore_result"] is True
    assert (sent["headers"]["eta"], sent["headers"]["expires"]) == (None, None)
    assert PASSWORD not in str(found)
    import base64

    assert json.loads(base64.b64decode(sent["body"]))[:2] == [[], {"job": 4711}]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"garbage", "Cannot process event"),
        (b"\xff\xfe\x00", "Cannot process event"),
        (b"42", "not a Celery message"),
        (b"null", "not a Celery message"),
        (b"{}", "not a Celery message"),
        (b"[1, 2]", "not a Celery message"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (message(body="[" * 100_000 + "]" * 100_000), "dropped a message"),
        (message(headers={}), "not a Celery task"),
        (message(headers={"task": "os.system", "id": "x"}), "unknown task"),
        (message(body="[["), "Expecting"),
        (message(body="7"), "dropped a message"),
        (message(body=json.dumps([["rm -rf /"], {}, {}])), "no job id"),
        (message(body=json.dumps([[], {"job": "one"}, {}])), "no job id"),
        (message(body=json.dumps([[], {"job": 1, "more": 2}, {}])), "no job id"),
        (message(**{"content-type": "application/x-python-serialize"}), "dropped a message"),
    ],
)
def test_other_messages_are_logged_and_dropped(
    server: Redis, wake_ups: WakeUps, caplog: pytest.LogCaptureFixture, payload: bytes, said: str
) -> None:
    """The next wake-up still arrives, on the same connection."""
    publish(server, payload)
    wait_for(lambda: said in ours(caplog), 5)
    assert not wake_ups.wait(0.05)
    assert wake_ups.connected
    notify(server.url, 1)
    assert wake_ups.wait(5)
    assert "is unavailable" not in ours(caplog)
    assert "reconnecting to Redis" not in ours(caplog)
    assert "Traceback" not in ours(caplog)


def test_pickle_is_never_read(server: Redis, wake_ups: WakeUps, tmp_path: Path) -> None:
    """A message that would run code when it is unpickled does not."""
    import base64
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    body = base64.b64encode(pickle.dumps(([], {"job": Evil()}, {}))).decode()
    properties = json.loads(message())["properties"] | {"body_encoding": "base64"}
    kind = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    publish(server, message(body=body, properties=properties, **kind))
    notify(server.url, 1)
    assert wake_ups.wait(5)
    assert not (tmp_path / "owned").exists()


def test_garbage_in_lists_is_never_read(server: Redis, wake_ups: WakeUps) -> None:
    """Wake-ups are published, not queued: entries in Redis are left alone."""
    with server.client() as client:
        for name in (CHANNEL, "celery", "patchgrid.notify"):
            client.lpush(name, "garbage", message())
        notify(server.url, 1)
        assert wake_ups.wait(5)
        assert not wake_ups.wait(0.2)
        assert client.llen(CHANNEL) == 2
        client.flushall()


def test_three_wake_ups_are_one(server: Redis, wake_ups: WakeUps) -> None:
    """The same message, delivered again."""
    for _ in range(3):
        publish(server, message())
    assert wake_ups.wait(5)


def test_flushing_redis_changes_nothing(server: Redis, wake_ups: WakeUps) -> None:
    """The next wake-up arrives, and the server keeps nothing per worker."""
    for _ in range(3):
        with server.client() as client:
            client.flushall()
        notify(server.url, 1)
        assert wake_ups.wait(5)


def test_workers_that_come_and_go_leave_nothing_in_redis(server: Redis) -> None:
    """As many keys after ten listeners as after one."""
    counts = []
    with server.client() as client:
        client.flushall()
        for _ in range(4):
            with connected_wake_ups(server.url):
                notify(server.url, 1)
            counts.append(
                sum(
                    client.scard(key) if client.type(key) == b"set" else 1
                    for key in client.scan_iter()
                    if b"pidbox" not in key
                )
            )
    assert counts[0] == counts[-1]


def test_a_busy_worker_answers_inspect_ping(server: Redis, wake_ups: WakeUps) -> None:
    """The main thread computes, the listener's thread answers."""
    ended = threading.Event()
    busy = threading.Thread(target=lambda: [None for _ in iter(ended.is_set, True)])
    busy.start()
    try:
        with make_app(server.url) as app:
            replies = app.control.inspect(timeout=1).ping()
    finally:
        ended.set()
        busy.join()
    assert list((replies or {}).values()) == [{"ok": "pong"}]


def test_remote_control_ends_and_changes_no_worker(
    server: Redis, wake_ups: WakeUps, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not there to ask something is refused, in one line each; the same connection goes on."""
    with make_app(server.url) as app:
        for command in ("shutdown", "pool_restart", "conf", "rate_limit", "revoke"):
            app.control.broadcast(command)
            wait_for(lambda: f"'{command}'" in ours(caplog), 5)  # noqa: B023
        notify(server.url, 1)
        assert wake_ups.wait(5)
        assert list((app.control.inspect(timeout=1).ping() or {}).values()) == [{"ok": "pong"}]
    assert "reconnecting to Redis" not in ours(caplog)
    assert "Traceback" not in ours(caplog)


def test_a_remote_shutdown_that_was_asked_for_does_not_deafen_a_worker(server: Redis) -> None:
    """Celery's own command ends its worker; ours listens again."""
    with connected_wake_ups(server.url, remote_control=True) as wake_ups, make_app(server.url) as app:
        wait_for(lambda: app.control.ping(timeout=0.5), 30)  # its commands arrive a moment after its wake-ups
        app.control.shutdown()
        assert wake_ups.wait(30), "it wakes by itself once it listens again"
        notify(server.url, 1)
        assert wake_ups.wait(5)


def test_listening_leaves_signals_and_the_root_logger_alone(server: Redis) -> None:
    """What Celery's own command line takes over."""
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT]
    root = logging.getLogger()
    before = [signal.getsignal(number) for number in numbers], list(root.handlers), root.level, sys.stdout
    with connected_wake_ups(server.url):
        after = [signal.getsignal(number) for number in numbers], list(root.handlers), root.level, sys.stdout
    assert after == before


def test_a_stopped_listener_leaves_no_thread() -> None:
    """With Redis there, and with Redis away."""
    threads = set(threading.enumerate())
    with redis_server() as server:
        with connected_wake_ups(server.url):
            assert any(thread.name == "patchgrid-notify" for thread in threading.enumerate())
        assert set(threading.enumerate()) == threads
        server.kill()
        away = WakeUps(server.url)
        away.start()
        wait_for(lambda: away.connected is False, 5)
        away.stop()
    assert set(threading.enumerate()) == threads


def test_the_listener_s_thread_ends_with_the_process(server: Redis) -> None:
    """A process that forgets to stop it exits at once."""
    program = (
        "import sys, time; from patchgrid.workers.broker.notify import WakeUps\n"
        "wake_ups = WakeUps(sys.argv[1]); wake_ups.start()\n"
        "while not wake_ups.connected: time.sleep(0.01)\n"
        "print('connected')"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "connected\n", "")
    assert time.monotonic() - began < 15


def test_the_exchange_sends_to_all() -> None:
    """A direct one would send each wake-up to one worker."""
    assert EXCHANGE.type == "fanout"
