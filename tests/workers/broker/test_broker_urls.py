"""Brokers' URLs: which are taken, what is said of the others, and that no password is shown."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchgrid.workers.broker import messages
from patchgrid.workers.broker.broker import label, make_app
from patchgrid.workers.errors import BrokerUnavailable, BrokerURLError
from support.api.tls import make_certificate, tls_proxy
from support.machines.servers import Redis, free_port
from support.workers.celery_workers import PASSWORD


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{PASSWORD}@host/",
        f"redis://:{PASSWORD}@host:port/0",
        f"redis://:{PASSWORD}@host:6379/zero",
        f"redis://:{PASSWORD}@",
        f"redis://:{PASSWORD}@host/0?ssl_cert_reqs=none",
        f"rediss://:{PASSWORD}@host/0?ssl_cert_reqs=perhaps",
        f"rediss://:{PASSWORD}@host/0?verify=no",
        f"amqp://user:{PASSWORD}@host/?heartbeat=5",
        f"amqp://user:{PASSWORD}@",
        f"sentinel://:{PASSWORD}@host:26379/0",
        f"sentinel://:{PASSWORD}@host:26379;http://:{PASSWORD}@other/0?master_name=one",
        f"sentinel://:{PASSWORD}@host:26379/0?master_name=one&db={PASSWORD}",
        f"memory://{PASSWORD}@host",
        "localhost:6379",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_its_password(url: str) -> None:
    """Before anything is connected to: by senders and by workers."""
    for use in (make_app, lambda url: messages.send(url, "model", 1), lambda url: messages.count(url, ["m"])):
        with pytest.raises(BrokerURLError) as caught:
            use(url)
        assert PASSWORD not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("url", ["localhost:6379", "nope", ""])
def test_what_is_no_url_is_told_how_to_write_one(url: str) -> None:
    """Without what a parser makes of it."""
    with pytest.raises(BrokerURLError, match=r"^a broker must be a URL: write redis://"):
        make_app(url)


#: URL to what Celery is told: its URL for connections, whether TLS is used, and the address in messages.
TAKEN = {
    f"redis://:{PASSWORD}@host": (f"redis://:{PASSWORD}@host", None, "redis://host:6379"),
    f"redis://ann:{PASSWORD}@host:1/3": (f"redis://ann:{PASSWORD}@host:1/3", None, "redis://host:1/3"),
    f"rediss://:{PASSWORD}@host/0": (f"redis://:{PASSWORD}@host/0", True, "rediss://host:6379/0"),
    f"amqp://ann:{PASSWORD}@host//": (f"amqp://ann:{PASSWORD}@host//", None, "amqp://host:5672//"),
    f"amqps://ann:{PASSWORD}@host/v": (f"amqps://ann:{PASSWORD}@host/v", True, "amqps://host:5671/v"),
    f"sentinel://:{PASSWORD}@a:1/0;sentinel://:{PASSWORD}@b:2/0?master_name=one": (
        f"sentinel://:{PASSWORD}@a:1/0;sentinel://:{PASSWORD}@b:2/0",
        None,
        "sentinel://a:1/0",
    ),
}


@pytest.mark.parametrize("url", TAKEN)
def test_urls_of_redis_rabbitmq_and_sentinel_are_taken(url: str) -> None:
    """With Celery's settings for each; messages name the address alone."""
    used, tls, named = TAKEN[url]
    app = make_app(url)
    assert app.broker == app.conf.broker_url == used
    assert bool(app.conf.broker_use_ssl) is bool(tls)
    if url.startswith("rediss"):
        assert app.conf.broker_use_ssl["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert app.conf.broker_use_ssl["ssl_check_hostname"] is True
    if url.startswith("sentinel"):
        assert app.conf.broker_transport_options["master_name"] == "one"
    assert label(url) == named
    assert app.connection_for_write().transport_cls is not None


@pytest.mark.parametrize("requirement", ["none", "optional", "required", "CERT_NONE"])
def test_how_certificates_are_checked_is_an_option(requirement: str) -> None:
    """As Celery and redis-py write it."""
    tls = make_app(f"rediss://host/0?ssl_cert_reqs={requirement}&ssl_ca_certs=/a.pem").conf.broker_use_ssl
    expected = {"optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    assert tls["ssl_cert_reqs"] == expected.get(requirement, ssl.CERT_NONE)
    assert tls["ssl_check_hostname"] is (requirement in expected)
    assert tls["ssl_ca_certs"] == "/a.pem"


@contextmanager
def greeted() -> Iterator[tuple[int, list[bytes]]]:
    """Listen on a port; hang up after each connection's first words: RabbitMQ's clients speak first."""
    words: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    words.append(connection.recv(8))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server.getsockname()[1], words
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("host", "options", "trusted"),
    [
        ("localhost", "?ssl_ca_certs={certificate}", True),
        ("localhost", "?ssl_cert_reqs=none", True),
        ("127.0.0.2", "?ssl_ca_certs={certificate}&ssl_check_hostname=false", True),
        ("127.0.0.2", "?ssl_ca_certs={certificate}", False),
        ("localhost", "", False),
    ],
)
def test_rabbitmq_with_tls_is_reached_if_its_certificate_is_trusted(
    tmp_path: Path, host: str, options: str, trusted: bool
) -> None:
    """By its signer and its host's name, unless the URL says otherwise."""
    certificate, key = make_certificate(tmp_path)
    with (
        greeted() as (target, words),
        tls_proxy(certificate, key, target, "127.0.0.2" if host != "localhost" else "127.0.0.1") as port,
    ):
        url = f"amqps://ann:{PASSWORD}@{host}:{port}//{options.format(certificate=certificate)}"
        with pytest.raises(BrokerUnavailable) as caught:
            messages.send(url, "model", 1)
    assert (b"AMQP\0\0\x09\x01" in words) is trusted
    assert ("certificate" in str(caught.value)) is not trusted
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "redis", "rediss"])
def test_no_sender_waits_for_a_silent_broker(scheme: str) -> None:
    """The thread that measures also sends: connections for publishing have timeouts, with any broker."""
    options = make_app(f"{scheme}://host").connection_for_write().transport_options
    names = ("read_timeout", "write_timeout") if scheme.startswith("amqp") else ("socket_timeout",)
    assert all(0 < options[name] <= 2 for name in names)


def test_another_broker_in_celery_s_own_variables_is_not_used(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster may have other users of Celery."""
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.setenv(name, f"redis://127.0.0.1:{free_port()}/0")
    messages.send(redis.url, "model", 1)
    assert messages.count(redis.url, ["model"]) == {"model": 1}
