"""Messages through a real Redis: how many are sent, what they hold, and how soon sending gives up."""

import base64
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from patchgrid.core.queue_name import queue_name
from patchgrid.workers.broker import messages
from patchgrid.workers.broker.broker import make_app
from patchgrid.workers.broker.messages import MOST, problem
from patchgrid.workers.celery.task import send_successor
from patchgrid.workers.errors import BrokerUnavailable
from support.api.tls import make_certificate, tls_proxy
from support.faults.forging import message
from support.machines.servers import Redis, free_port
from support.workers.celery_workers import PASSWORD

#: More than a sender may wait for, on however slow a machine; `for ever` is longer.
LONG = 30


@pytest.mark.parametrize("chunks", [0, 1, 3, MOST, MOST + 1, 15_000])
def test_a_job_s_messages_are_bounded(redis: Redis, chunks: int) -> None:
    """One a chunk, on its model's queue and no other."""
    messages.send(redis.url, "org/model", chunks)
    assert messages.count(redis.url, ["org/model", "other"]) == {
        "org/model": min(chunks, MOST),
        "other": 0,
    }
    with redis.client() as client:
        assert client.llen("patchgrid.org/model") == min(chunks, MOST)
        assert [key for key in client.scan_iter() if client.type(key) == b"list"] == (
            [b"patchgrid.org/model"] if chunks else []
        )


def test_a_message_holds_the_model_and_nothing_else(redis: Redis) -> None:
    """JSON, no pickle, no prompt, no URL, no time; and it is one that workers take."""
    messages.send(redis.url, "stand-in", 1)
    with redis.client() as client:
        [sent] = client.lrange("patchgrid.stand-in", 0, -1)
    assert PASSWORD.encode() not in sent
    found = json.loads(sent)
    content = json.loads(base64.b64decode(found["body"]))
    assert content[:2] == [[], {"model": "stand-in"}]
    assert not any(content[2].values())
    assert found["content-type"] == "application/json"
    assert (found["headers"]["eta"], found["headers"]["expires"]) == (None, None)
    assert found["headers"]["ignore_result"] is True
    assert found["headers"]["task"] == "patchgrid.work"
    assert problem(found["headers"], content) is None
    assert found.keys() == message().keys(), "forged messages look like these"
    assert found["headers"].keys() == message()["headers"].keys()
    assert found["properties"].keys() == message()["properties"].keys()


def test_messages_of_different_jobs_add_up_to_a_bound(redis: Redis) -> None:
    """However often jobs are submitted, paused and resumed without a worker: one message is like another."""
    for _ in range(3):
        messages.send(redis.url, "m", 2)
    assert messages.count(redis.url, ["m"]) == {"m": 6}
    for _ in range(3):
        messages.send(redis.url, "m", MOST)
    assert messages.count(redis.url, ["m"]) == {"m": MOST}


def test_a_slice_sends_no_successor_to_a_full_queue(redis: Redis) -> None:
    """Messages are repeated whenever a worker loses its connection: their successors must not add up."""
    messages.send(redis.url, "m", MOST - 1)
    with make_app(redis.url) as app:
        for _ in range(3):
            send_successor(app, "m")
    assert messages.count(redis.url, ["m"]) == {"m": MOST}


@pytest.mark.parametrize("kind", ["nobody listens", "nobody answers", "no such host", "wrong password"])
def test_sending_fails_fast_when_redis_is_away(redis: Redis, kind: str) -> None:
    """In seconds, without the password in the message, and without a thread left behind."""
    threads = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "nobody answers" else free_port()
        url = {
            "no such host": f"redis://:{PASSWORD}@nowhere.invalid:6379/0",
            "wrong password": redis.url.replace(PASSWORD, "sesame"),
        }.get(kind, f"redis://user:{PASSWORD}@127.0.0.1:{port}/0")
        for use in (
            lambda url: messages.send(url, "model", MOST),
            lambda url: messages.count(url, ["model"]),
        ):
            began = time.monotonic()
            with pytest.raises(BrokerUnavailable, match="is unavailable") as caught:
                use(url)
            assert time.monotonic() - began < LONG
            assert PASSWORD not in str(caught.value)
            assert "sesame" not in str(caught.value)
            assert len(str(caught.value).splitlines()) == 1
            assert caught.value.__cause__ is None
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= threads


def test_tls_is_used_as_the_url_says(redis: Redis, tmp_path: Path) -> None:
    """With the right authority it works; without, it is refused; unless nothing is to be checked."""
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(certificate, key, redis.port) as port:
        url = f"rediss://:{PASSWORD}@localhost:{port}/0"
        for accepted in (f"{url}?ssl_ca_certs={certificate}", f"{url}?ssl_cert_reqs=none"):
            messages.send(accepted, "m", 1)
        with pytest.raises(BrokerUnavailable, match="certificate"):
            messages.send(url, "m", 1)
        with pytest.raises(BrokerUnavailable):
            messages.send(url.replace("rediss", "redis"), "m", 1)
    assert messages.count(redis.url, ["m"]) == {"m": 2}


#: Models, each beside another that its queue must not be confused with.
MODELS = ("openai-community/gpt2", "./a b", "./a-b", "a;rm -rf", "a,b", "a b", "ä", "ö", "m" * 500, "m" * 501)


@pytest.mark.parametrize("model", MODELS)
def test_a_queue_s_name_is_safe_and_its_own(redis: Redis, model: str) -> None:
    """For shells, `-Q` (which splits at commas) and RabbitMQ (255 bytes); the same in every process."""
    name = queue_name(model)
    assert name == queue_name(str(model))
    assert name.startswith("patchgrid.")
    assert name.isascii()
    assert len(name) < 255
    assert not set(name) & set(" ,;:'\"$\\*?|&<>()\n")
    assert [each for each in MODELS if queue_name(each) == name] == [model]
    messages.send(redis.url, model, 1)
    with redis.client() as client:
        assert client.llen(name) == 1


def test_a_plain_model_is_its_queue_s_name() -> None:
    """So that a person and an autoscaler can write it; others end with a hash, which never changes."""
    assert queue_name("openai-community/gpt2") == "patchgrid.openai-community/gpt2"
    assert queue_name("a b") == "patchgrid.a-b.c8687a08"
