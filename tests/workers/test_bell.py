"""Bells through a real Redis: rung, heard, missed, forged, and with the server gone."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from patchgrid.workers import broker
from patchgrid.workers.bell import Bell, ring
from patchgrid.workers.broker import CHANNEL, EXCHANGE, make_app
from patchgrid.workers.errors import BrokerUnavailable, BrokerURLError
from support.servers import Redis, free_port, redis_server, wait_for
from support.tls import make_certificate, tls_proxy

PASSWORD = "swordfish"
#: Redis's channel of the bells.
TOPIC = f"/0.{CHANNEL}/{CHANNEL}"


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Give a Redis with a password."""
    with redis_server(password=PASSWORD) as running:
        yield running


@contextmanager
def hung_up(url: str) -> Iterator[Bell]:
    """Give a bell that listens."""
    bell = Bell(url)
    bell.start()
    try:
        wait_for(lambda: bell.connected, 10)
        bell.wait(0)
        yield bell
    finally:
        bell.stop()


@pytest.fixture(scope="module")
def listening(server: Redis) -> Iterator[Bell]:
    """Give a bell that listens to the server."""
    with hung_up(server.url) as bell:
        yield bell


@pytest.fixture
def bell(listening: Bell) -> Bell:
    """Give the bell, which has not rung."""
    wait_for(lambda: listening.connected, 10)
    listening.wait(0)
    return listening


def publish(server: Redis, payload: bytes) -> None:
    """Put something on the bells' channel; somebody must be listening."""
    with server.client() as client:
        assert client.publish(TOPIC, payload) == 1


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """Give what patchgrid logged: what an operator sees, as the libraries' own records go no further."""
    for name in ("celery", "kombu"):
        assert not logging.getLogger(name).propagate
    written = logging.Formatter("%(levelname)s %(message)s")
    return "\n".join(
        written.format(record) for record in caplog.records if record.name.startswith("patchgrid")
    )


def message(**changed: Any) -> bytes:
    """Give a message as Celery sends one, with some of its parts changed."""
    return json.dumps(
        {
            "body": json.dumps([[], {"job": 1}, {}]),
            "headers": {"task": "patchgrid.ring", "id": "some-id", "lang": "py"},
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


def test_a_bell_is_heard_by_every_worker(server: Redis, bell: Bell) -> None:
    """Two listen, one bell rings: both wake, within a second."""
    with hung_up(server.url) as other:
        began = time.monotonic()
        ring(server.url, 17)
        assert bell.wait(5)
        assert other.wait(5)
        assert time.monotonic() - began < 1
        assert not bell.wait(0.2), "one bell rang twice"


def test_waiting_without_a_bell_takes_the_time_it_was_given(bell: Bell) -> None:
    """And no longer."""
    began = time.monotonic()
    assert not bell.wait(0.2)
    assert 0.2 <= time.monotonic() - began < 1


def test_a_bell_that_rang_while_nobody_waited_is_heard_once(server: Redis, bell: Bell) -> None:
    """Three of them are one."""
    for _ in range(3):
        ring(server.url, 1)
    time.sleep(0.3)
    assert bell.wait(0)
    assert not bell.wait(0.1)


def test_without_a_broker_a_bell_rings_in_this_process_alone() -> None:
    """Nothing is started, and it wakes whoever waits; from a signal handler, too."""
    bell = Bell(None)
    bell.start()
    assert bell.connected is None
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: bell.ring_locally())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert bell.wait(10)
    finally:
        signal.signal(signal.SIGALRM, before)
    bell.stop()


def test_a_message_holds_the_job_s_number_and_nothing_else(server: Redis) -> None:
    """JSON, no pickle, no prompt, no URL."""
    with server.client() as client, client.pubsub() as listener:
        listener.psubscribe("*")
        assert listener.get_message(timeout=5)
        ring(server.url, 4711)
        found = listener.get_message(timeout=5)
        assert found is not None
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
        (b"42", "it is no message"),
        (b"null", "it is no message"),
        (b"{}", "it is no message"),
        (b"[1, 2]", "it is no message"),
        (message(headers={}), "it is no task"),
        (message(headers={"task": "os.system", "id": "x"}), "there is no task"),
        (message(body="[["), "Expecting"),
        (message(body="7"), "a message was dropped"),
        (message(body=json.dumps([["rm -rf /"], {}, {}])), "it names no job"),
        (message(body=json.dumps([[], {"job": "one"}, {}])), "it names no job"),
        (message(body=json.dumps([[], {"job": 1, "more": 2}, {}])), "it names no job"),
        (message(**{"content-type": "application/x-python-serialize"}), "a message was dropped"),
    ],
)
def test_what_is_no_bell_is_logged_and_dropped(
    server: Redis, bell: Bell, caplog: pytest.LogCaptureFixture, payload: bytes, said: str
) -> None:
    """The next bell is heard all the same, by the same connection."""
    publish(server, payload)
    wait_for(lambda: said in ours(caplog), 5)
    assert not bell.wait(0.05)
    assert bell.connected
    ring(server.url, 1)
    assert bell.wait(5)
    assert "is away" not in ours(caplog)
    assert "hung up again" not in ours(caplog)
    assert "Traceback" not in ours(caplog)


def test_pickle_is_never_read(server: Redis, bell: Bell, tmp_path: Path) -> None:
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
    ring(server.url, 1)
    assert bell.wait(5)
    assert not (tmp_path / "owned").exists()


def test_garbage_in_lists_is_never_read(server: Redis, bell: Bell) -> None:
    """Bells are published, not queued: what lies in Redis is left where it is."""
    with server.client() as client:
        for name in (CHANNEL, "celery", "patchgrid.ring"):
            client.lpush(name, "garbage", message())
        ring(server.url, 1)
        assert bell.wait(5)
        assert not bell.wait(0.2)
        assert client.llen(CHANNEL) == 2
        client.flushall()


def test_a_bell_three_times_over_is_one(server: Redis, bell: Bell) -> None:
    """The same message, delivered again."""
    for _ in range(3):
        publish(server, message())
    assert bell.wait(5)


def test_flushing_redis_changes_nothing(server: Redis, bell: Bell) -> None:
    """The next bell is heard, and nothing is left behind in the server for each worker."""
    for _ in range(3):
        with server.client() as client:
            client.flushall()
        ring(server.url, 1)
        assert bell.wait(5)


def test_workers_that_come_and_go_leave_nothing_in_redis(server: Redis) -> None:
    """As many keys after ten listeners as after one."""
    counts = []
    with server.client() as client:
        client.flushall()
        for _ in range(4):
            with hung_up(server.url):
                ring(server.url, 1)
            counts.append(
                sum(
                    client.scard(key) if client.type(key) == b"set" else 1
                    for key in client.scan_iter()
                    if b"pidbox" not in key
                )
            )
    assert counts[0] == counts[-1]


def test_a_redis_that_is_killed_and_comes_back_empty_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """Noticed within seconds, said once, and said once when it is back; then bells are heard."""
    caplog.set_level(logging.INFO)
    with redis_server(password=PASSWORD) as server, hung_up(server.url) as bell:
        for count in (1, 2):
            server.kill()
            wait_for(lambda: bell.connected is False, 5)
            with pytest.raises(BrokerUnavailable):
                ring(server.url, 1)
            time.sleep(0.6)
            assert ours(caplog).count("is away") == count
            server.start()
            wait_for(lambda: bell.connected, 10)
            assert bell.wait(1), "bells may have been missed: it must ring by itself"
            assert ours(caplog).count("is back") == count
            ring(server.url, 1)
            assert bell.wait(5)
    assert PASSWORD not in ours(caplog)
    assert "Traceback" not in ours(caplog)


def test_a_redis_that_does_not_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, not killed: the connection stays open and nothing comes."""
    options: Any = broker._SETTINGS["broker_transport_options"]
    for name in ("socket_timeout", "health_check_interval"):
        assert options[name] == broker.PATIENCE
        monkeypatch.setitem(options, name, 0.5)
    with redis_server() as server, hung_up(server.url) as bell:
        assert server._process is not None
        server._process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                ring(server.url, 1)
            assert time.monotonic() - began < 4
            wait_for(lambda: bell.connected is False, 20)
        finally:
            server._process.send_signal(signal.SIGCONT)
        wait_for(lambda: bell.connected, 10)
        bell.wait(0)
        ring(server.url, 1)
        assert bell.wait(5)


def test_a_redis_that_is_away_from_the_start_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """The bell rings as soon as the server is there."""
    with redis_server() as server:
        server.kill()
        bell = Bell(server.url)
        bell.start()
        wait_for(lambda: bell.connected is False, 5)
        assert not bell.wait(0.1)
        server.start()
        assert bell.wait(10)
        assert bell.connected
        bell.stop()


@pytest.mark.parametrize("kind", ["nobody listens", "nobody answers", "no such host", "wrong password"])
def test_ringing_fails_fast_when_redis_is_away(server: Redis, kind: str) -> None:
    """In about two seconds, without the password in the message, and without a thread left behind."""
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "nobody answers" else free_port()
        url = {
            "no such host": f"redis://:{PASSWORD}@nowhere.invalid:6379/0",
            "wrong password": server.url.replace(PASSWORD, "sesame"),
        }.get(kind, f"redis://user:{PASSWORD}@127.0.0.1:{port}/0")
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="cannot be reached") as caught:
            ring(url, 1)
    assert time.monotonic() - began < 4
    assert PASSWORD not in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    time.sleep(0.1)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://user:{PASSWORD}@host/",
        f"redis://:{PASSWORD}@host:port/0",
        f"redis://:{PASSWORD}@host:6379/zero",
        f"redis://:{PASSWORD}@",
        f"redis://:{PASSWORD}@host/0?ssl_cert_reqs=none",
        f"rediss://:{PASSWORD}@host/0?ssl_cert_reqs=perhaps",
        f"rediss://:{PASSWORD}@host/0?verify=no",
        "localhost:6379",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_its_password(url: str) -> None:
    """Before anything is connected to."""
    for use in (lambda: ring(url, 1), Bell(url).start):
        with pytest.raises(BrokerURLError) as caught:
            use()
        assert PASSWORD not in str(caught.value)


def test_tls_is_used_as_the_url_says(server: Redis, tmp_path: Path) -> None:
    """With the right authority it works; without, it is refused; unless nothing is to be checked."""
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(certificate, key, server.port) as port:
        url = f"rediss://:{PASSWORD}@localhost:{port}/0"
        trusting = f"{url}?ssl_ca_certs={certificate}"
        with hung_up(trusting) as bell:
            ring(trusting, 1)
            assert bell.wait(5)
            ring(f"{url}?ssl_cert_reqs=none", 1)
            assert bell.wait(5)
        with pytest.raises(BrokerUnavailable, match="certificate"):
            ring(url, 1)
        with pytest.raises(BrokerUnavailable):
            ring(url.replace("rediss", "redis"), 1)


def test_another_broker_in_celery_s_own_variables_is_not_used(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster may have other users of Celery."""
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.setenv(name, f"redis://127.0.0.1:{free_port()}/0")
    with hung_up(server.url) as bell:
        ring(server.url, 1)
        assert bell.wait(5)


def test_a_busy_worker_answers_inspect_ping(server: Redis, bell: Bell) -> None:
    """The main thread computes, the bell's thread answers."""
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


def test_a_remote_shutdown_does_not_deafen_a_worker(server: Redis, bell: Bell) -> None:
    """Celery's own command ends its worker; ours listens again."""
    with make_app(server.url) as app:
        app.control.shutdown()
    assert bell.wait(10), "it rings by itself once it listens again"
    ring(server.url, 1)
    assert bell.wait(5)


def test_listening_leaves_signals_and_the_root_logger_alone(server: Redis) -> None:
    """What Celery's own command line takes over."""
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT]
    root = logging.getLogger()
    before = [signal.getsignal(number) for number in numbers], list(root.handlers), root.level, sys.stdout
    with hung_up(server.url):
        after = [signal.getsignal(number) for number in numbers], list(root.handlers), root.level, sys.stdout
    assert after == before


def test_a_stopped_bell_leaves_no_thread() -> None:
    """With Redis there, and with Redis away."""
    threads = set(threading.enumerate())
    with redis_server() as server:
        with hung_up(server.url):
            assert any(thread.name == "patchgrid-bell" for thread in threading.enumerate())
        assert set(threading.enumerate()) == threads
        server.kill()
        away = Bell(server.url)
        away.start()
        wait_for(lambda: away.connected is False, 5)
        away.stop()
    assert set(threading.enumerate()) == threads


def test_the_bell_s_thread_ends_with_the_process(server: Redis) -> None:
    """A process that forgets to stop it exits at once."""
    program = (
        "import sys, time; from patchgrid.workers.bell import Bell; bell = Bell(sys.argv[1]); bell.start()\n"
        "while not bell.connected: time.sleep(0.01)\n"
        "print('connected')"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "connected\n", "")
    assert time.monotonic() - began < 15


def test_the_exchange_sends_to_all() -> None:
    """A direct one would give each bell to one worker."""
    assert EXCHANGE.type == "fanout"
