"""How fast results are stored and read, on SQLite and PostgreSQL: `python -m benchmarks.jobs.storage --help`.

A job is stored as a worker stores it, claim and commit included: chunks of 64 pairs with 2,880 scores each (a
site of 12 layers, 20 positions, 12 heads), their sums, outcomes, top components and exact rows. What is read
back must be what was stored. Then people's questions are asked. For a job of a million pairs, pairs, chunks
and sums are written, which is all that its top components come from.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from statistics import median

import click
from sqlalchemy import func, select

from benchmarks.common import timing
from benchmarks.jobs.storing import (
    CHUNK,
    make_pairs,
    make_result,
    moved,
    store_done,
    store_rows,
    store_sums,
    store_totals,
)
from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.closing import close_if_complete
from patchgrid.storage.results import component_table, components, verification
from patchgrid.storage.tables import component_estimate
from support.machines.servers import postgres_server

KINDS = ("SQLite", "PostgreSQL")
#: Chunks of jobs that are completed.
COMPLETED_CHUNKS = 16
#: Gives the URL of a new, empty database.
NewUrl = Callable[[], str]


@contextmanager
def databases(kind: str) -> Iterator[NewUrl]:
    """Have somewhere to make databases of a kind, for the time of a `with` block."""
    numbers = count()
    if kind == "SQLite":
        with tempfile.TemporaryDirectory() as folder:
            yield lambda: f"sqlite:///{folder}/{next(numbers)}.db"
        return
    with postgres_server() as server:
        server.execute("ALTER SYSTEM SET fsync = on")  # as a real one has it
        server.execute("SELECT pg_reload_conf()")
        yield lambda: server.url(server.new_database())


def submit(database: Database, spec: JobSpec, number: int) -> JobRecord:
    with database.write() as session:
        key = jobs.job_key(spec, f"{number} pairs")
        return jobs.submit(session, spec, make_pairs(number), key=key, count=number, chunk_size=CHUNK)


def store(database: Database, job: JobRecord) -> tuple[float, ChunkResult]:
    """Store a job's results, the same for every chunk; give the pairs stored in a second, and the results."""
    result: ChunkResult | None = None
    spent = 0.0
    while True:
        start = time.perf_counter()
        with database.write() as session:
            lease = leases.claim(session, "benchmark", job_id=job.id)
        spent += time.perf_counter() - start
        if lease is None:
            assert result is not None
            return job.pairs / spent, result
        result = result or make_result(lease, job.spec.exact, job.spec.detail)
        mine = moved(result, lease)
        start = time.perf_counter()
        with database.write() as session:
            leases.finish(session, lease, mine)
        spent += time.perf_counter() - start


def seconds(question: Callable[[], object], times: int = 5) -> float:
    """Return the median time of some runs, after a warm-up."""
    question()
    return median(timing.seconds_of(question) for _ in range(times))


def measure_full(new_url: NewUrl, kind: str, pairs: int, exact: float) -> dict[str, float]:
    """Store jobs in full and ask about the last."""
    found: dict[str, float] = {}
    with Database.open(new_url()) as database:
        for detail in ("pairs", "positions"):
            job = submit(database, JobSpec.of("gpt2", sites=("z",), detail=detail, exact=exact), pairs)
            found[f"stored, detail {detail} (pairs/s)"], result = store(database, job)
            check(database, job, pairs // 2, result)
        found["stored as a row a score (pairs/s)"] = rows = store_rows(new_url())
        found["ratio, detail positions to a row a score"] = found["stored, detail positions (pairs/s)"] / rows
        with database.read() as session:
            found["one pair, all its scores (s)"] = seconds(
                lambda: pair_view.pair(session, job, pairs // 2), 50
            )
            found["top 20 components (s)"] = seconds(lambda: components.top(session, job))
            found["verification (s)"] = seconds(lambda: verification.verification(session, job))
    return {f"{kind}: {name}": value for name, value in found.items()}


def check(database: Database, job: JobRecord, index: int, result: ChunkResult) -> None:
    """Compare a pair's scores as they are read with what was stored."""
    with database.read() as session:
        scores = pair_view.pair(session, job, index).scores["z"]
    timing.check(scores, result.scores["z"][index % CHUNK], f"stored scores, detail {job.spec.detail}")


def measure_large(new_url: NewUrl, kind: str, pairs: int) -> dict[str, float]:
    """Ask about a job of very many pairs, first as it runs, then as it is finished."""
    found: dict[str, float] = {}
    with Database.open(new_url()) as database:
        start = time.perf_counter()
        job = submit(database, JobSpec("gpt2"), pairs)
        found[f"submit of {pairs:,} pairs (s)"] = time.perf_counter() - start
        store_sums(database, job)
        with database.read() as session:
            found[f"top 20 of {pairs:,} pairs, running (s)"] = seconds(
                lambda: components.top(session, job), 3
            )
            found[f"progress of {pairs:,} pairs (s)"] = seconds(lambda: job_progress(session, job.id))
            found[f"one of {pairs:,} pairs (s)"] = seconds(
                lambda: pair_view.pair(session, job, pairs // 2), 50
            )
        store_totals(database, job)
        with database.read() as session:
            found[f"top 20 of {pairs:,} pairs, finished (s)"] = seconds(lambda: components.top(session, job))
    return {f"{kind}: {name}": value for name, value in found.items()}


def measure_completion(new_url: NewUrl, kind: str, sizes: Sequence[int]) -> dict[str, float]:
    """Complete jobs of 16 chunks: what the last chunk's transaction does besides storing that chunk."""
    found: dict[str, float] = {}
    with Database.open(new_url()) as database:
        for size in sizes:
            # So many are neurons, of which the strongest have rows.
            site = "z" if size <= 100_000 else "mlp_post"
            job = submit(database, JobSpec.of("gpt2", sites=(site,), seed=size), COMPLETED_CHUNKS * CHUNK)
            store_done(database, job, (10, size // 10))
            rounds = [complete(database, job) for _ in range(3)]
            found[f"completing a job of {size:,} components (s)"] = min(whole for whole, _, _ in rounds)
            found[f"of that, {component_estimate.name} of {size:,} (s)"] = min(part for _, part, _ in rounds)
            found[f"rows in {component_estimate.name} of {size:,} components"] = rounds[0][2]
    return {f"{kind}: {name}": value for name, value in found.items()}


def complete(database: Database, job: JobRecord) -> tuple[float, float, int]:
    """Complete a job and roll back; return the seconds, those of its rows for SQL, and how many rows."""
    with suppress(_RolledBackError), database.write() as session:
        whole = timing.seconds_of(lambda: close_if_complete(session, job.id))
        rows = session.scalar(select(func.count()).select_from(component_estimate)) or 0
        session.execute(component_estimate.delete())
        part = timing.seconds_of(lambda: component_table.write_estimates(session, job))
        raise _RolledBackError
    return whole, part, rows


class _RolledBackError(Exception):
    """Ends a transaction without a commit."""


def say(found: dict[str, float]) -> dict[str, float]:
    for name, value in found.items():
        print(f"{name:<60} {value:>12,.4g}", flush=True)
    return found


@click.command(help=__doc__)
@click.option("--pairs", default=20_000, show_default=True, help="Pairs of the jobs stored in full; 0: none.")
@click.option("--large", default=1_000_000, show_default=True, help="Pairs of the large job; 0: none.")
@click.option("--exact", default=0.05, show_default=True, help="Share of cells with exact rows.")
@click.option(
    "--components",
    "sizes",
    multiple=True,
    default=(330, 10_000, 590_000),
    show_default=True,
    help="Components of jobs that are completed, multiples of ten; may be repeated.",
)
@click.option(
    "--databases", "kinds", multiple=True, default=KINDS, show_default=True, type=click.Choice(KINDS)
)
@click.option("--large-in", multiple=True, default=("SQLite",), show_default=True, type=click.Choice(KINDS))
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(
    pairs: int,
    large: int,
    exact: float,
    sizes: Sequence[int],
    kinds: Sequence[str],
    large_in: Sequence[str],
    json_file: Path | None,
) -> None:
    found: dict[str, float] = {}
    for kind in kinds:
        with databases(kind) as new_url:
            if pairs:
                found |= say(measure_full(new_url, kind, pairs, exact))
            if large and kind in large_in:
                found |= say(measure_large(new_url, kind, large))
            found |= say(measure_completion(new_url, kind, sizes))
    if json_file is not None:
        setting = {"pairs": pairs, "large": large, "exact": exact}
        json_file.write_text(json.dumps({"setting": setting, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
