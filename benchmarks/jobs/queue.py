"""The queue: chunks a second, what storing costs beside a GPU, two workers, a large submit.

Workers are processes with one thread each, on a PostgreSQL and a Redis of our own (which sync every commit
to the disk, as a real one does) or on an SQLite file.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.common.replay import Recorder
from examples.pairs.make_pairs import ioi_pairs
from patchgrid.core.query import Query
from patchgrid.core.sites import HEAD_SITES
from patchgrid.core.types import JobSpec, Pair
from patchgrid.engine.results import Measured, PairResult
from patchgrid.storage import Database
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.workers import list_workers
from patchgrid.workers.broker.messages import send
from patchgrid.workers.celery import process
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.worker import Worker
from support.machines.servers import postgres_server, redis_server

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo_model"
LAYERS, HEADS = 2, 2
#: Seconds that workers may take to be ready.
PATIENCE = 120
_fork = multiprocessing.get_context("fork")


@dataclass
class Instant:
    """An engine of a very small model that has its numbers at once, or after so many seconds."""

    #: Slept for each chunk: the process does nothing meanwhile, as when a GPU computes.
    seconds: float = 0.0
    provenance: Provenance = field(
        default_factory=lambda: Provenance(
            "instant", None, "c" * 64, "w" * 64, {"patchgrid": "0.1.0"}, "float32", "cpu", 0
        )
    )

    def measure(
        self,
        pairs: Sequence[Pair],
        _choose: object,
        query: Query,
        *,
        on_batch: Callable[[float], None],
        **_: object,
    ) -> list[Measured]:
        scores = {
            site: np.ones((LAYERS, 8, HEADS) if site in HEAD_SITES else (LAYERS, 8), np.float32)
            for site in query.sites
        }
        time.sleep(self.seconds)
        on_batch(len(pairs))
        return [
            Measured(
                PairResult(
                    {"atp": scores},
                    clean_metric=1.0,
                    corrupted_metric=-1.0,
                    tokens=TOKENS,
                    corrupted_tokens=TOKENS,
                )
            )
            for _ in pairs
        ]


TOKENS = tuple(f" token{number}" for number in range(8))


def work(url: str, broker: str | None, model: str, poll: float) -> None:
    """Be a worker; the body of a process."""
    seconds = float(model.rpartition(" ")[2]) if model.startswith("after ") else 0.0
    load = (lambda key: load_engine(key.model)) if Path(model).is_dir() else (lambda _key: Instant(seconds))
    settings = WorkerSettings(models=(model,), device="cpu", broker=broker, poll=poll)
    with Database.open(url) as database:
        worker = Worker(database, settings, load=load)
        if broker is None:
            worker.run()
        else:
            process.run(worker)


@contextmanager
def workers(url: str, number: int, model: str, *, broker: str | None = None, poll: float) -> Iterator[None]:
    """Have so many workers wait for jobs, for the time of a `with` block."""
    processes: list[BaseProcess] = [
        _fork.Process(target=work, args=(url, broker, model, poll)) for _ in range(number)
    ]
    try:
        for process in processes:
            process.start()
        with Database.open(url) as database:
            wait_for(lambda: idle(database, processes) == number)
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def idle(database: Database, processes: Sequence[BaseProcess]) -> int:
    """Count those of the processes that wait for work."""
    pids = {process.pid for process in processes}
    with database.read() as session:
        return sum(each.pid in pids and each.state == "idle" for each in list_workers(session))


def wait_for(check: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.perf_counter() + seconds
    while not check():
        if time.perf_counter() > end:
            sys.exit("the workers are not ready")
        time.sleep(0.005)


def submit(database: Database, spec: JobSpec, pairs: Sequence[Pair], chunk_size: int) -> JobRecord:
    """Write a job, never one that was there."""
    with database.write() as session:
        key = f"benchmark {time.time_ns()}"
        return jobs.submit(session, spec, pairs, key=key, count=len(pairs), chunk_size=chunk_size)


def finished(database: Database, job: JobRecord) -> JobRecord:
    """Wait until a job is done; give it as it then stands."""
    while True:
        with database.read() as session:
            record = jobs.get(session, job.id)
        if record.finished_at is not None:
            assert record.state == "done", record.error
            return record
        time.sleep(0.05)


def make_pairs(number: int) -> list[Pair]:
    """Return indirect-object pairs of the demo model."""
    rows = ioi_pairs(number)
    return [Pair(row["clean"], row["corrupted"], row["correct"], row["incorrect"]) for row in rows]


@dataclass(frozen=True)
class Servers:
    """Databases, each empty, and a broker."""

    new_url: Callable[[str], str]
    broker: str


@contextmanager
def servers(folder: str) -> Iterator[Servers]:
    """Start the servers for the time of a `with` block."""
    with postgres_server() as postgres, redis_server() as redis:
        postgres.execute("ALTER SYSTEM SET fsync = on")
        postgres.execute("SELECT pg_reload_conf()")
        numbers = count()

        def new_url(kind: str) -> str:
            if kind == "PostgreSQL":
                return postgres.url(postgres.new_database())
            return f"sqlite:///{folder}/{next(numbers)}.db"

        yield Servers(new_url, redis.url)


def seconds_of_job(
    there: Servers, kind: str, number: int, model: str, chunks: int, chunk_size: int, *, direct: bool = False
) -> float:
    """Have so many workers work a job off; from its first claim to its end, by the database's clock.

    Through Celery, or `direct`: they only poll the database.
    """
    broker = None if direct else there.broker
    url = there.new_url(kind)
    pairs = [Pair(f"clean {index}", f"corrupted {index}", " a", " b") for index in range(chunks * chunk_size)]
    with Database.open(url) as database, workers(url, number, model, broker=broker, poll=0.5):
        job = submit(database, JobSpec(model, exact=0.0), pairs, chunk_size)
        if broker is not None:
            send(broker, model, chunks)
        record = finished(database, job)
    assert record.started_at is not None
    assert record.finished_at is not None
    return record.finished_at - record.started_at


def chunk_rates(there: Servers, numbers: Sequence[int], chunks: int, chunk_size: int) -> dict[str, float]:
    """Work a job off with an instant engine, through Celery and by direct claims, in turn."""
    figures = {}
    for kind in ("SQLite", "PostgreSQL"):
        for number in numbers:
            rates = [
                chunks / seconds_of_job(there, kind, number, "instant", chunks, chunk_size, direct=direct)
                for direct in (False, True, True, False)
            ]
            celery, direct = rates[0] + rates[3], rates[1] + rates[2]
            name = f"{kind}, {number} workers"
            for what, figure in (
                (f"{name}, Celery (chunks/s)", celery / 2),
                (f"{name}, direct claims (chunks/s)", direct / 2),
                (f"{name}, Celery over direct", celery / direct),
            ):
                figures[what] = figure
                say(what, figure)
    return figures


def engine_shares(there: Servers, seconds: float, chunks: int, chunk_size: int) -> dict[str, float]:
    """Have one worker work a job off with an engine that takes its time; say what share of all it was."""
    figures = {}
    for kind in ("SQLite", "PostgreSQL"):
        spent = seconds_of_job(there, kind, 1, f"after {seconds}", chunks, chunk_size)
        name = f"{kind}, engine of {1000 * seconds:.0f} ms for {chunk_size} pairs, its share of the time"
        figures[name] = seconds * chunks / spent
        say(name, figures[name])
    return figures


def load_engine(folder: str) -> Any:
    """Load a model without a word."""
    from transformers.utils import logging

    from patchgrid.engine.engine import Engine

    logging.disable_progress_bar()
    return Engine.load(folder, device="cpu", dtype="float32")


def record(folder: str, spec: JobSpec, pairs: Sequence[Pair], chunk_size: int) -> Callable[[], None]:
    """Record a job's engine calls, without its pilot; return a function that repeats them."""
    from patchgrid.workers.runner import run_job

    recorder = Recorder(load_engine(spec.model))
    with Database.open(f"sqlite:///{folder}/recorded.db") as database:
        run_job(database, recorder, submit(database, spec, pairs, chunk_size))  # type: ignore[arg-type]
    calls = -(-len(pairs) // chunk_size)
    assert len(recorder) - calls in (0, 1), "a job asks for its pilot, then once a chunk"
    return lambda: recorder.ask_again(last=calls)


def end_to_end(there: Servers, folder: str, number: int, rounds: int) -> dict[str, float]:
    """Compare submit to done, with one worker and with two, with the engine's time alone, in turn."""
    spec, pairs = JobSpec(str(DEMO), dtype="float32"), make_pairs(number)
    bare = record(folder, spec, pairs, chunk_size=64)
    seconds: dict[str, list[float]] = {"bare engine": [], "one worker": [], "two workers": []}
    url = there.new_url("PostgreSQL")
    for _ in range(rounds):
        seconds["bare engine"].append(timed(bare))
        for name, size in (("one worker", 1), ("two workers", 2)):
            with (
                workers(url, size, spec.model, broker=there.broker, poll=0.5),
                Database.open(url) as database,
            ):
                for _ in range(2):  # the first job is for loading the model
                    spent = timed(lambda: run(database, there.broker, spec, pairs))
                seconds[name].append(spent)
    best = {name: min(values) for name, values in seconds.items()}
    figures = {f"{number:,} pairs, {name} (s)": value for name, value in best.items()}
    ratios = [b / a for a, b in zip(seconds["bare engine"], seconds["one worker"], strict=True)]
    figures["submit to done over bare engine, best round"] = best["one worker"] / best["bare engine"]
    figures["submit to done over bare engine, median round"] = float(np.median(ratios))
    figures["two workers over one, best round"] = best["one worker"] / best["two workers"]
    halves = [a / b for a, b in zip(seconds["one worker"], seconds["two workers"], strict=True)]
    figures["two workers over one, median round"] = float(np.median(halves))
    for name, value in figures.items():
        say(name, value)
    return figures


def run(database: Database, broker: str, spec: JobSpec, pairs: Sequence[Pair]) -> None:
    """Submit a job, send its messages, and wait until it is done."""
    job = submit(database, spec, pairs, 64)
    send(broker, spec.model, -(-len(pairs) // 64))
    finished(database, job)


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def large_submit(there: Servers, folder: str, number: int) -> dict[str, float]:
    """Run `patchgrid submit` with very many pairs; its time, and the most memory it had."""
    file = Path(folder) / "pairs.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for index in range(number):
            clean = f"Then, John{index} and Mary went to the shop, and John gave a book to"
            row = {"clean": clean, "corrupted": clean.replace("John gave", "Mary gave")}
            lines.write(json.dumps(row | {"correct": " Mary", "incorrect": " John"}) + "\n")
    figures = {}
    for kind in ("SQLite", "PostgreSQL"):
        command = [sys.executable, "-m", "patchgrid.cli", "--db", there.new_url(kind), "submit", str(file)]
        began = time.perf_counter()
        process = subprocess.Popen([*command, "-m", "gpt2"], stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        what = f"{kind}, submit of {number:,} pairs"
        figures |= {
            f"{what} (s)": time.perf_counter() - began,
            f"{what}, of its own processor (s)": used.ru_utime + used.ru_stime,
            f"{what} (MB)": used.ru_maxrss / 1024,
        }
    for name, value in figures.items():
        say(name, value)
    return figures


def say(name: str, value: float) -> None:
    print(f"{name:<66} {value:>10,.4g}", flush=True)


@click.command()
@click.option("--workers", "numbers", default="1,2,4,8,16", help="Numbers of worker processes.")
@click.option("--chunks", default=2000, help="Chunks of the job for an instant engine; 0: not measured.")
@click.option("--chunk-size", default=4, help="Pairs in each of them.")
@click.option("--waited", default=300, help="Chunks for an engine that takes 30 ms; 0: not measured.")
@click.option("--pairs", default=1000, help="Pairs of the job for the demo model; 0: not measured.")
@click.option("--rounds", default=3, help="Rounds of it.")
@click.option("--large", default=1_000_000, help="Pairs of the large submit; 0: not measured.")
@click.option("--quick", is_flag=True, help="Small jobs: to see that it works, not to quote.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(
    numbers: str,
    chunks: int,
    chunk_size: int,
    waited: int,
    pairs: int,
    rounds: int,
    large: int,
    quick: bool,
    json_file: Path | None,
) -> None:
    """Measure the queue on databases of its own."""
    if quick:
        numbers, chunks, pairs, rounds, large = (
            "1,2",
            min(chunks, 200),
            min(pairs, 128),
            1,
            min(large, 20_000),
        )
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    figures: dict[str, float] = {"load of the machine before": os.getloadavg()[0]}
    say(*next(iter(figures.items())))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        there = stack.enter_context(servers(folder))
        if large:
            # First: a child's peak memory is told as at least what its parent had when it began.
            figures |= large_submit(there, folder, large)
        if chunks:
            figures |= chunk_rates(there, [int(each) for each in numbers.split(",")], chunks, chunk_size)
        if waited:
            figures |= engine_shares(there, 0.03, min(waited, 20) if quick else waited, 64)
        if pairs:
            figures |= end_to_end(there, folder, pairs, rounds)
    if json_file is not None:
        setting = {
            "chunks": chunks,
            "chunk_size": chunk_size,
            "waited": waited,
            "pairs": pairs,
            "large": large,
        }
        json_file.write_text(json.dumps({"setting": setting, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
