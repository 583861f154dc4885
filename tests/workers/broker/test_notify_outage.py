"""Wake-ups while Redis is down, stopped, elsewhere, or behind TLS; addresses that cannot be used."""

import logging
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from patchgrid.workers.broker.notify import WakeUps, notify

from patchgrid.workers.broker import broker
from patchgrid.workers.errors import BrokerUnavailable, BrokerURLError
from support.api.tls import make_certificate, tls_proxy
from support.machines.servers import Redis, free_port, redis_server, wait_for
from support.workers.listeners import PASSWORD, connected_wake_ups, listening, ours, server, wake_ups

__all__ = ["listening", "server", "wake_ups"]


def test_a_redis_that_is_killed_and_comes_back_empty_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """Noticed within seconds, logged once, and logged once when it is back; then wake-ups arrive."""
    caplog.set_level(logging.INFO)
    with redis_server(password=PASSWORD) as server, connected_wake_ups(server.url) as wake_ups:
        for count in (1, 2):
            server.kill()
            wait_for(lambda: wake_ups.connected is False, 5)
            with pytest.raises(BrokerUnavailable):
                notify(server.url, 1)
            time.sleep(0.6)
            assert ours(caplog).count("is unavailable") == count
            server.start()
            wait_for(lambda: wake_ups.connected, 10)
            assert wake_ups.wait(1), "wake-ups may have been missed: it must wake by itself"
            assert ours(caplog).count("is available again") == count
            notify(server.url, 1)
            assert wake_ups.wait(5)
    assert PASSWORD not in ours(caplog)
    assert "Traceback" not in ours(caplog)


def test_a_redis_that_does_not_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, not killed: the connection stays open and nothing comes."""
    options: Any = broker._SETTINGS["broker_transport_options"]
    for name in ("socket_timeout", "health_check_interval"):
        assert options[name] == broker.PATIENCE
        monkeypatch.setitem(options, name, 0.5)
    with redis_server() as server, connected_wake_ups(server.url) as wake_ups:
        assert server._process is not None
        server._process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                notify(server.url, 1)
            assert time.monotonic() - began < 20
            wait_for(lambda: wake_ups.connected is False, 20)
        finally:
            server._process.send_signal(signal.SIGCONT)
        wait_for(lambda: wake_ups.connected, 10)
        wake_ups.wait(0)
        notify(server.url, 1)
        assert wake_ups.wait(5)


def test_a_redis_that_is_away_from_the_start_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """A wake-up arrives as soon as the server is up."""
    with redis_server() as server:
        server.kill()
        wake_ups = WakeUps(server.url)
        wake_ups.start()
        wait_for(lambda: wake_ups.connected is False, 5)
        assert not wake_ups.wait(0.1)
        server.start()
        assert wake_ups.wait(10)
        wait_for(lambda: wake_ups.connected, 10)
        wake_ups.stop()


@pytest.mark.parametrize("kind", ["nobody listens", "nobody answers", "no such host", "wrong password"])
def test_ringing_fails_fast_when_redis_is_away(server: Redis, kind: str) -> None:
    """In seconds, without the password in the message, and without a thread left behind."""
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "nobody answers" else free_port()
        url = {
            "no such host": f"redis://:{PASSWORD}@nowhere.invalid:6379/0",
            "wrong password": server.url.replace(PASSWORD, "sesame"),
        }.get(kind, f"redis://user:{PASSWORD}@127.0.0.1:{port}/0")
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="is unavailable") as caught:
            notify(url, 1)
    assert time.monotonic() - began < 20
    assert PASSWORD not in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    wait_for(lambda: threading.active_count() == threads)


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
    for use in (lambda: notify(url, 1), WakeUps(url).start):
        with pytest.raises(BrokerURLError) as caught:
            use()
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:6379", "nope", ""])
def test_what_is_no_url_is_told_how_to_write_one(url: str) -> None:
    """Without what a parser makes of it."""
    with pytest.raises(BrokerURLError, match=r"^a broker must be a URL: write redis://"):
        notify(url, 1)


def test_tls_is_used_as_the_url_says(server: Redis, tmp_path: Path) -> None:
    """With the right authority it works; without, it is refused; unless nothing is to be checked."""
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(certificate, key, server.port) as port:
        url = f"rediss://:{PASSWORD}@localhost:{port}/0"
        trusting = f"{url}?ssl_ca_certs={certificate}"
        with connected_wake_ups(trusting) as wake_ups:
            notify(trusting, 1)
            assert wake_ups.wait(5)
            notify(f"{url}?ssl_cert_reqs=none", 1)
            assert wake_ups.wait(5)
        with pytest.raises(BrokerUnavailable, match="certificate"):
            notify(url, 1)
        with pytest.raises(BrokerUnavailable):
            notify(url.replace("rediss", "redis"), 1)


def test_another_broker_in_celery_s_own_variables_is_not_used(
    server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster may have other users of Celery."""
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.setenv(name, f"redis://127.0.0.1:{free_port()}/0")
    with connected_wake_ups(server.url) as wake_ups:
        notify(server.url, 1)
        assert wake_ups.wait(5)
