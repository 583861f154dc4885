"""Workers as processes: what they say, what ends them, and that their results are those of `run`."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from patchgrid.cli.options import SIZE
from patchgrid.core.queue_name import queue_name
from patchgrid.storage import Database
from patchgrid.storage.errors import StorageError
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import WorkerInfo
from patchgrid.storage.tables import worker
from support.cli.commands import FinishedJob, patchgrid, refused, start, write_pairs
from support.engine.cases import DEMO_PAIRS
from support.engine.models import DEMO_MODEL
from support.machines.servers import Postgres, Redis, wait_for

if TYPE_CHECKING:
    import subprocess

EXPORTS = ("pairs", "exact", "components", "scores")


@contextmanager
def working(*options: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a worker process for the time of a `with` block."""
    process = start("worker", "start", *options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def listed(database: object) -> list[Any]:
    """Return the registered workers."""
    result = patchgrid("worker", "list", "--db", database, "--json")
    return list(json.loads(result.stdout)["workers"]) if result.exit_code == 0 else []


def in_state(database: object, state: str) -> Callable[[], bool]:
    """Return a check that some worker is in a state."""
    return lambda: any(worker["state"] == state for worker in listed(database))


def listeners(redis: Redis) -> int:
    """Count the workers that wait for messages."""
    with redis.client() as client:
        return sum(each["cmd"] == "brpop" for each in client.client_list())


def test_two_workers_on_postgresql_give_what_run_gives(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    """The demo model: submitted with --wait, messages through Redis; top and exports as from one process."""
    url, alone = postgres.url(postgres.new_database()), tmp_path / "alone.db"
    job = (DEMO_PAIRS, "-m", DEMO_MODEL, "--limit", 100, "--name", "ioi")
    options = ("--db", url, "--broker", redis.url, "--poll", 600)
    assert patchgrid("db", "upgrade", "--db", url).exit_code == 0
    with working("-m", DEMO_MODEL, *options) as one, working("-m", DEMO_MODEL, *options) as two:
        wait_for(lambda: [worker["state"] for worker in listed(url)] == ["idle", "idle"], every=0.5)
        wait_for(lambda: listeners(redis) == 2, every=0.5)
        began = time.monotonic()
        waited = patchgrid("submit", *job, "--wait", "--chunk-size", 10, "--db", url, "--broker", redis.url)
        assert time.monotonic() - began < 300, "messages reach workers long before they poll"
        assert waited.exit_code == 0, waited.stderr
        assert "Job 1 (ioi) done: 100 pairs measured" in waited.stderr
        wait_for(lambda: sum(worker["chunks"] for worker in listed(url)) == 10, every=0.5)
        assert all(worker["chunks"] for worker in listed(url)), "both had a share in it"
        assert patchgrid("worker", "drain", "--all", "--db", url).exit_code == 0
        said = [process.communicate(timeout=120)[1] for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0]
    assert all("exits: drained" in text for text in said)
    assert not any("open-sesame" in text or "Traceback" in text for text in said)
    assert patchgrid("run", *job, "--db", alone).exit_code == 0
    top = [patchgrid("results", "top", 1, "--json", "--db", db).stdout for db in (url, alone)]
    assert_alike(*(json.loads(text)["items"] for text in top))
    for what in EXPORTS:
        texts = [patchgrid("results", "export", 1, "--what", what, "--db", db).stdout for db in (url, alone)]
        assert_alike(*([json.loads(line) for line in text.splitlines()] for text in texts))


def assert_alike(found: Any, expected: Any) -> None:
    """Compare documents, numbers to five digits: chunks of another size are summed in another order."""
    assert len(found) == len(expected) > 0
    for left, right in zip(found, expected, strict=True):
        assert left.keys() == right.keys()
        for name, value in right.items():
            close = pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value
            assert left[name] == close, name


def test_a_worker_told_to_stop_hands_its_chunk_back(tiny_model: Path, tmp_path: Path) -> None:
    """SIGUSR1, then SIGTERM for it to be quick; exit code 0, the time before each line, nothing lost."""
    database = tmp_path / "a.db"
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3000)
    submit = ("submit", pairs, "-m", tiny_model, "--db", database, "--chunk-size", 3000)
    assert patchgrid(*submit).exit_code == 0
    with working("-m", tiny_model, "--db", database, "--batch-tokens", 32) as worker:
        wait_for(in_state(database, "working"), every=0.5)
        listing = patchgrid("worker", "list", "--db", database).stdout
        assert re.search(r"working +gpt2 +cpu +1 +1 ", listing), listing
        assert f"{worker.pid}" in listing
        shown = patchgrid("job", "show", 1, "--db", database).stdout
        assert re.search(r"worker +\S+ on cpu, chunk 1", shown), shown
        worker.send_signal(signal.SIGUSR1)
        wait_for(in_state(database, "draining"), every=0.2)
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=120)
    assert worker.returncode == 0, said
    assert "exits: stopped" in said.splitlines()[-1]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ", line) for line in said.splitlines()), said
    document = json.loads(patchgrid("job", "show", 1, "--db", database, "--json").stdout)
    assert document["chunks"]["pending"] == 1
    assert document["troubles"] == {"retried": 0, "split": 0}
    assert "1 worker stopped within the last day" in patchgrid("worker", "list", "--db", database).stderr
    assert "stopped" in patchgrid("worker", "list", "--all", "--db", database).stdout


def test_a_worker_ends_after_its_chunks_or_when_drained(
    tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    """By --max-chunks, or by `worker drain` with the beginning of its name."""
    database = tmp_path / "a.db"
    patchgrid("submit", pairs, "-m", tiny_model, "--db", database, "--chunk-size", 2)
    serve = ("-m", tiny_model, "--db", database, "--poll", 0.2)
    with working(*serve, "--max-chunks", 1) as brief:
        # Alone: another worker might leave it none.
        assert "exits: max chunks" in brief.communicate(timeout=120)[1]
    with working(*serve, "--name", "alice/long-name") as drained:
        assert patchgrid("job", "wait", 1, "--timeout", 60, "--db", database).exit_code == 0
        result = patchgrid("worker", "drain", "alice", "--db", database)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "1 worker will stop after the current chunk" in result.stderr
        assert "alice/long-name" in result.stderr
        assert "exits: drained" in drained.communicate(timeout=120)[1]
    assert [process.returncode for process in (brief, drained)] == [0, 0]


def register(database: Path, name: str) -> None:
    """Enter a worker that nobody runs, last heard of two minutes ago; its name is node7/process/time."""
    with Database.open(f"sqlite:///{database}") as opened, opened.write() as session:
        workers.register(
            session, WorkerInfo(name, "node7", int(name.split("/")[1]), "cuda:0", ("/models/m",))
        )
        session.execute(update(worker).where(worker.c.name == name).values(seen_at=worker.c.seen_at - 120))


def test_a_lost_worker_is_marked(finished: FinishedJob, tmp_path: Path) -> None:
    """In the table, as JSON and for Prometheus."""
    database = tmp_path / "a.db"
    register(database, "node7/1/2")
    table = patchgrid("worker", "list", "--db", database)
    assert re.search(r"node7/1 +lost +m +cuda:0", table.stdout), table.stdout
    assert re.search(r" 2m$", table.stdout, re.MULTILINE), table.stdout
    (worker,) = listed(database)
    assert (worker["state"], worker["lost"], worker["models"]) == ("lost", True, ["/models/m"])
    metrics = patchgrid("worker", "list", "--prometheus", "--db", database).stdout
    assert 'patchgrid_workers{state="lost"} 1.0' in metrics
    assert "No workers: start one" in finished.ask("worker", "list").stderr


def test_what_waits_is_listed_by_model(tiny_model: Path, pairs: Path, tmp_path: Path, redis: Redis) -> None:
    """Above the workers; with a broker, the messages on each model's queue and its name, too."""
    database, broker = tmp_path / "a.db", ("--broker", redis.url)
    with redis.client() as client:
        client.flushall()
    patchgrid("submit", pairs, "-m", tiny_model, "--db", database, "--chunk-size", 1, *broker)
    patchgrid("submit", pairs, "-m", "org/other", "--db", database)
    patchgrid("job", "pause", 2, "--db", database)
    listing = ("worker", "list", "--db", database)
    lines = patchgrid(*listing).stdout.splitlines()
    header = ["model", "chunks", "pending", "leased", "paused", "oldest", "pending", "messages"]
    assert lines[0].split() == header
    assert lines[2].split()[:4] == ["gpt2", "4", "0", "0"]
    assert lines[2].split()[-1] == "-"
    assert lines[3].split() == ["org/other", "0", "0", "1", "-", "-"]
    assert not any("queue" in line for line in lines)
    document = json.loads(patchgrid(*listing, "--json").stdout)
    assert [queue["pending"] for queue in document["queues"]] == [4, 0]
    assert [queue["messages"] for queue in document["queues"]] == [None, None]
    lines = patchgrid(*listing, *broker).stdout.splitlines()
    assert lines[2].split()[-1] == "4"
    assert lines[3].split() == ["org/other", "0", "0", "1", "-", "0"]
    assert f"gpt2: queue {queue_name(str(tiny_model))}" in lines
    assert "org/other: queue patchgrid.org/other" in lines
    document = json.loads(patchgrid(*listing, *broker, "--json").stdout)
    assert [queue["messages"] for queue in document["queues"]] == [4, 0]


def test_unknown_workers_and_unclear_names_are_refused(tmp_path: Path) -> None:
    """And none is drained by accident."""
    database = tmp_path / "a.db"
    register(database, "node7/1/2")
    register(database, "node7/12/4")
    drain = ("worker", "drain", "--db", database)
    assert "no worker 'node8'" in refused(patchgrid(*drain, "node8"))
    assert "2 workers' names begin with 'node7/'" in refused(patchgrid(*drain, "node7/"))
    assert "name the workers to drain, or give --all" in refused(patchgrid(*drain))
    assert "name the workers to drain, or give --all" in refused(patchgrid(*drain, "node7", "--all"))
    assert not any(worker["drain"] for worker in listed(database))
    assert json.loads(patchgrid(*drain, "node7", "--json").stdout)["draining"] == ["node7/1/2", "node7/12/4"]
    assert json.loads(patchgrid(*drain, "node7/1", "--json").stdout)["draining"] == ["node7/1/2"]


REFUSALS = {
    "no CUDA": (("--gpus", "all"), "--gpus: no CUDA GPU found on this machine"),
    "device and GPUs": (("--gpus", "0", "--device", "cuda:1"), "--device and --gpus exclude each other"),
    "name and GPUs": (("--gpus", "0", "--name", "x"), "--name and --gpus exclude each other"),
    "device": (("--device", "gpu"), "device 'gpu' is not available"),
    "model": (("-m", "./nowhere"), "no model folder at ./nowhere"),
    "far model": (("-m", "/nowhere/model"), "no model folder at /nowhere/model"),
    "broker": (("--broker", "http://host"), "is not a supported broker"),
    "size": (("--memory-limit", "40 apples"), "is not a size: write 40GB"),
    "lease": (("--lease", "0"), "--lease"),
}


@pytest.mark.parametrize(("options", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_worker_that_could_not_work_is_refused(
    options: tuple[str, ...], message: str, finished: FinishedJob
) -> None:
    """Before it claims anything: exit code 2 and one line."""
    start_ = ("worker", "start", "-m", finished.model, "--db", finished.database)
    result = patchgrid(*start_, *options)
    assert result.exit_code == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_worker_without_a_database_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """A slip in its path does not make a new one."""
    with pytest.raises(StorageError):
        Database.open(f"sqlite:///{tmp_path / 'a.db'}", create=False)
    result = patchgrid("worker", "start", "-m", tiny_model, "--db", tmp_path / "a.db")
    assert "does not exist" in refused(result)
    assert not (tmp_path / "a.db").exists()


def test_sizes_are_read() -> None:
    """Decimal and binary."""
    sizes = {"40GB": 40 * 10**9, "1.5 tb": 1.5e12, "24GiB": 24 * 2**30, "512M": 512 * 10**6, "1000": 1000}
    for text, number in sizes.items():
        assert SIZE.convert(text, None, None) == number
