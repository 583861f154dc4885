"""Figures for operators."""

import re

from prometheus_client.parser import text_string_to_metric_families

from patchgrid.core.queue_name import queue_name
from patchgrid.storage import Database
from patchgrid.storage.queue import control, leases, metrics, workers
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerInfo, WorkerStatus
from patchgrid.workers.errors import BrokerUnavailable
from support.storage.chunk_results import make_spec
from support.storage.storage_backends import run_job, submit_job


def samples(database: Database, count: metrics.CountMessages | None = None) -> dict[tuple[str, ...], float]:
    """Return the samples that Prometheus reads: name and label values to value."""
    with database.read() as session:
        found, records = metrics.queues(session), workers.list_workers(session)
    queues = metrics.with_messages(metrics.with_served(found, records), count)
    families = text_string_to_metric_families(metrics.prometheus_text(queues, records))
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_each_model_has_its_queue(database: Database) -> None:
    """Counted by what becomes of the chunks; those that are through count no more."""
    run_job(database, submit_job(database, 8, key="through"))
    submit_job(database, 8, key="one")
    submit_job(database, 8, key="two")
    other = submit_job(database, 8, spec=make_spec(model="b/other"))
    with database.write() as session:
        assert leases.claim(session, "worker", models=["a/model"]) is not None
        assert leases.claim(session, "worker", models=["b/other"]) is not None
        control.pause(session, other.id)
    with database.read() as session:
        one, two = metrics.queues(session)
    assert one.oldest_seconds is not None
    assert 0 <= one.oldest_seconds < 60
    assert (one.model, one.pending, one.leased, one.held) == ("a/model", 3, 1, 0)
    assert two == ModelQueue("b/other", 0, 1, 1, None, queue="patchgrid.b/other")


def test_without_jobs_and_workers_the_figures_are_still_there(database: Database) -> None:
    """At 0, so that an alarm on them can be written before the first job."""
    found = samples(database)
    assert found["patchgrid_pairs_per_second",] == 0
    assert found["patchgrid_workers", "working"] == found["patchgrid_workers", "lost"] == 0


def test_prometheus_reads_the_figures(database: Database) -> None:
    """Queues, workers, speed, counters and failures, names with quotes and line ends too."""
    model = 'odd "model"\\\n'
    submit_job(database, 12, spec=make_spec(model=model))
    with database.write() as session:
        infos = [WorkerInfo(name, "host", 1, "cpu", (model, "idle/model")) for name in ("one", "two")]
        one, two = (workers.register(session, info) for info in infos)
        status = WorkerStatus("working", chunks=3, pairs=12, pairs_per_second=1.5, failures={"lost": 2})
        workers.beat(session, one, status)
        ended = WorkerStatus("idle", pairs_per_second=9.0, lease_losses=1, takeovers=4, failures={"lost": 1})
        workers.stop(session, two, ended)
        assert leases.claim(session, "one") is not None
    found = samples(database)
    assert found["patchgrid_chunks", model, "pending"] == 2
    assert found["patchgrid_chunks", model, "leased"] == 1
    assert found["patchgrid_chunks", "idle/model", "pending"] == 0
    assert found["patchgrid_oldest_chunk_seconds", model] >= 0
    assert found["patchgrid_workers", "working"] == found["patchgrid_workers", "stopped"] == 1
    assert found["patchgrid_pairs_per_second",] == 1.5
    assert found["patchgrid_worker_pairs_total", "one"] == 12
    assert found["patchgrid_worker_chunks_total", "one"] == 3
    assert found["patchgrid_worker_lease_losses_total", "two"] == 1
    assert found["patchgrid_worker_takeovers_total", "two"] == 4
    assert found["patchgrid_pair_failures_total", "lost"] == 3


def test_messages_are_counted_where_the_broker_answers(database: Database) -> None:
    """By model and queue; without an answer there is no figure, and no error."""
    submit_job(database, spec=make_spec(model="a/model"))

    def away(_models: object) -> dict[str, int]:
        raise BrokerUnavailable("redis://host:6379/0 is unavailable")

    name = "patchgrid_queue_messages"
    found = samples(database, lambda models: dict.fromkeys(models, 7))
    assert found[name, "a/model", "patchgrid.a/model"] == 7
    for count in (None, away):
        assert not any(key[0] == name for key in samples(database, count))


def test_the_names_of_queues_are_safe_and_distinct() -> None:
    """A model's name where it may stand as it is; otherwise what can stand, and a hash."""
    assert queue_name("openai-community/gpt2") == "patchgrid.openai-community/gpt2"
    odd = ["a b", "a-b", "a,b", "ä" * 300, "ä" * 301, "", "x\n", "x"]
    names = [queue_name(model) for model in odd]
    assert len(set(names)) == len(odd)
    for name in names:
        assert re.fullmatch(r"patchgrid\.[A-Za-z0-9._/-]{0,230}", name)
    assert names == [queue_name(model) for model in odd]
