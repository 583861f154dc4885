"""Workers while Redis is down, stopped, elsewhere, flushed or behind TLS."""

import signal
from pathlib import Path

import pytest

from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.workers.broker import messages
from patchgrid.workers.errors import BrokerUnavailable
from support.api.tls import make_certificate, tls_proxy
from support.faults import fleet
from support.machines.servers import free_port, redis_server, wait_for
from support.workers.celery_workers import PASSWORD, Place
from support.workers.gates import DONE
from support.workers.running import chunks


def test_a_redis_that_is_killed_and_comes_back_empty_is_used_again(place: Place) -> None:
    """Logged once, and once when it is back; work goes on meanwhile, and messages arrive afterwards."""
    with redis_server(password=PASSWORD) as place.redis, place.worker(poll=0.2) as worker:
        for count in (1, 2):
            place.redis.kill()
            worker.wait_for_log("is unavailable", count)
            with pytest.raises(BrokerUnavailable):
                messages.send(place.redis.url, "stand-in", 1)
            job = place.submit(send=False)
            wait_for(lambda: place.is_done(job))  # noqa: B023
            assert worker.log().count("is unavailable") == count
            place.redis.start()
            worker.wait_for_log("is available again", count)
            messages.send(place.redis.url, "stand-in", 3)
            wait_for(lambda: place.waiting() == 0)
        assert worker.code is None
        assert worker.log().count("is available again") == 2
        assert PASSWORD not in worker.log()
        assert "Traceback" not in worker.log()
        worker.send(signal.SIGTERM)
        assert worker.join() == 0


def test_a_redis_that_does_not_answer_is_noticed(place: Place) -> None:
    """Stopped, not killed: the connection stays open and nothing comes; the worker works and ends as ever."""
    with redis_server() as place.redis, place.worker(poll=0.2) as worker:
        process = place.redis._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(BrokerUnavailable):
                messages.send(place.redis.url, "stand-in", 1)
            worker.wait_for_log("is unavailable")
            job = place.submit(send=False)
            wait_for(lambda: place.is_done(job))
        finally:
            process.send_signal(signal.SIGCONT)
        worker.wait_for_log("is available again")
        messages.send(place.redis.url, "stand-in", 3)
        wait_for(lambda: place.waiting() == 0)
        process.send_signal(signal.SIGSTOP)
        try:
            worker.send(signal.SIGTERM)
            assert worker.join() == 0
        finally:
            process.send_signal(signal.SIGCONT)


def test_a_redis_that_is_away_from_the_start_is_waited_for(place: Place) -> None:
    """Work begins without it; messages arrive as soon as the server is up."""
    with redis_server() as place.redis:
        place.redis.kill()
        with place.worker(ready=False, poll=0.2) as worker:
            worker.wait_for_log("is unavailable")
            job = place.submit(send=False)
            wait_for(lambda: place.is_done(job))
            place.redis.start()
            messages.send(place.redis.url, "stand-in", 3)
            wait_for(lambda: place.waiting() == 0)
            assert worker.log().count("is unavailable") == 1


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, None])
def test_a_worker_that_never_reached_its_broker_ends_as_ever(
    place: Place, ended_by: signal.Signals | None
) -> None:
    """Told to, or idle."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    idle_exit = None if ended_by else 1.0
    with place.worker(ready=False, broker=url, poll=0.2, idle_exit=idle_exit) as worker:
        worker.wait_for_log("is unavailable")
        if ended_by is not None:
            worker.send(ended_by)
        assert worker.join() == 0
        assert f"exits: {'stopped' if ended_by else 'idle'}" in worker.log()


def test_flushing_redis_changes_nothing(place: Place) -> None:
    """Messages sent afterwards arrive."""
    with place.worker() as worker:
        for _ in range(3):
            with place.redis.client() as client:
                client.flushall()
            place.work_off()
        assert worker.code is None
        assert "Traceback" not in worker.log()


def test_a_worker_uses_tls_as_the_url_says(place: Place, tmp_path: Path) -> None:
    """And takes messages through it; a certificate that it does not trust is a broker that is away."""
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(certificate, key, place.redis.port) as port:
        url = f"rediss://:{PASSWORD}@localhost:{port}/0"
        with place.worker(broker=f"{url}?ssl_ca_certs={certificate}") as worker:
            place.work_off()
        with place.worker(ready=False, broker=url) as worker:
            worker.wait_for_log("is unavailable")
            assert "certificate" in worker.log()
            assert PASSWORD not in worker.log()


def test_another_broker_in_celery_s_own_variables_is_not_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster may have other users of Celery."""
    names = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
    variables = dict.fromkeys(names, f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr(fleet, "ENVIRONMENT", fleet.ENVIRONMENT | variables)
    with fleet.nursery() as place.nursery, place.worker():
        place.work_off()


def test_a_redis_that_goes_during_slices_holds_nothing_up(place: Place) -> None:
    """Neither the work, of which a slice's successor cannot be sent, nor the worker's end."""
    with redis_server() as place.redis, place.worker(slice=0.05, poll=0.2, pair_seconds=0.01) as worker:
        job = place.submit(count=4000)
        wait_for(lambda: done(place, job) > 5)
        place.redis.kill()
        before = done(place, job)
        wait_for(lambda: done(place, job) > before + 20)
        worker.send(signal.SIGTERM)
        assert worker.join() == 0
        assert "exits: stopped" in worker.log()


def done(place: Place, job: JobRecord) -> int:
    """Count the chunks of a job that are done."""
    return chunks(place.database, job).count(DONE)
