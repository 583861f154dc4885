"""How fast results are stored and asked for, on SQLite: `python benchmarks/storage.py --help`.

A job is stored as a worker stores it, claim and commit included: chunks of 64 pairs with 2,880 scores each (a
site of 12 layers, 20 positions, 12 heads), their sums, outcomes, top components and exact rows. Then people's
questions are asked. For a job of a million pairs, pairs, chunks and sums are written, which is all that its
top components come from.
"""

import dataclasses
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Double, Integer, MetaData, Table, create_engine, select

from patchgrid.engine.types import JobSpec, Pair
from patchgrid.estimates import Sums
from patchgrid.storage import Database, components, jobs, leases, pairview, tables, verification
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.leases import Lease
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.sums import add_up, pack_sums
from patchgrid.storage.writing import ChunkResult, ExactCell, PairOutcome

LAYERS, POSITIONS, HEADS, CHUNK = 12, 20, 12, 64
TOKENS = tuple(f" token{n}" for n in range(POSITIONS))
USED = Provenance("gpt2", "main", "c" * 64, "w" * 64, {"torch": "2.13.0"}, "float32", "cpu", 0)


def make_pairs(count: int) -> Iterator[Pair]:
    for index in range(count):
        prompt = f"Then, John{index} and Mary went to the shop, and {{}} gave a book to"
        yield Pair(prompt.format("John"), prompt.format("Mary"), (" Mary",), (" John",))


def submit(database: Database, spec: JobSpec, count: int) -> JobRecord:
    with database.write() as session:
        key = jobs.job_key(spec, f"{count} pairs")
        return jobs.submit(session, spec, make_pairs(count), key=key, count=count, chunk_size=CHUNK)


def make_result(lease: Lease, exact: float, detail: str) -> ChunkResult:
    """Make a chunk's result; computing one is not what is measured here."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(CHUNK, LAYERS, POSITIONS, HEADS)).astype(np.float32)
    whole = scores.sum(axis=2)
    aligned = Sums.zeros(scores.shape[1:], sampled=False, aligned=True)
    aligned.add_pairs(scores)
    cells = np.argwhere(rng.random(whole.shape) < exact)
    return ChunkResult(
        provenance=USED,
        outcomes=outcomes(lease),
        sums={("z", "whole"): sampled_sums(whole, cells, exact), ("z", "aligned"): aligned},
        scores={"z": list(scores if detail == "positions" else whole)},
        exact=[
            ExactCell(p, "z", layer, head, None, None, None, 0.5, 0.25, 0.1)
            for p, layer, head in cells.tolist()
        ],
        seconds=1.0,
    )


def sampled_sums(scores: NDArray[Any], cells: NDArray[Any], exact: float) -> Sums:
    sums = Sums.zeros(scores.shape[1:], sampled=True)
    sums.add_pairs(scores, total_effects=np.full(len(scores), 4.75))
    drawn = scores[tuple(cells.T)]
    inclusion, totals = np.full(len(drawn), exact or 1.0), np.full(len(drawn), 4.75)
    sums.add_cells(tuple(cells.T[1:]), drawn, 1.1 * drawn + 0.1, inclusion, totals)
    return sums


def outcomes(lease: Lease) -> list[PairOutcome]:
    indices = range(lease.first, lease.last)
    return [PairOutcome(index, "done", None, None, TOKENS, TOKENS, 3.25, -1.5) for index in indices]


def moved(result: ChunkResult, lease: Lease) -> ChunkResult:
    """Give the same numbers for another chunk."""
    size = lease.last - lease.first
    cells = [
        dataclasses.replace(cell, index=lease.first + cell.index)
        for cell in result.exact
        if cell.index < size
    ]
    scores = {site: arrays[:size] for site, arrays in result.scores.items()}
    return dataclasses.replace(result, outcomes=outcomes(lease), scores=scores, exact=cells)


def store(database: Database, job: JobRecord) -> float:
    """Store a whole job's results; give the pairs stored in a second."""
    result: ChunkResult | None = None
    spent = 0.0
    lease: Lease | None = None
    while True:
        start = time.perf_counter()
        with database.write() as session:
            lease = leases.claim(session, "benchmark", job_id=job.id)
        spent += time.perf_counter() - start
        if lease is None:
            return job.pairs / spent
        result = result or make_result(lease, job.spec.exact, job.spec.detail)
        mine = moved(result, lease)
        start = time.perf_counter()
        with database.write() as session:
            leases.finish(session, lease, mine)
        spent += time.perf_counter() - start


def store_sums(database: Database, job: JobRecord) -> None:
    """Give every chunk of a job its sums, of 144 heads and of 12 MLPs, and nothing else."""
    rng = np.random.default_rng(0)
    heads = rng.normal(size=(CHUNK, LAYERS, HEADS)).astype(np.float32)
    mlps = heads.sum(axis=2)
    sampled = {"z": heads, "mlp_out": mlps}
    data = {
        site: pack_sums(sampled_sums(scores, np.argwhere(rng.random(scores.shape) < 0.05), 0.05))
        for site, scores in sampled.items()
    }
    with database.write() as session:
        ids = session.scalars(select(tables.chunk.c.id).where(tables.chunk.c.job_id == job.id)).all()
        for start in range(0, len(ids), 200):
            rows = [
                {"job_id": job.id, "chunk_id": chunk_id, "site": site, "kind": "whole", "data": blob}
                for chunk_id in ids[start : start + 200]
                for site, blob in data.items()
            ]
            session.execute(tables.sums.insert(), rows)


def store_totals(database: Database, job: JobRecord) -> None:
    """Do what finishing the last chunk does."""
    with database.write() as session:
        for site in job.spec.sites:
            added = add_up(session, job.id, site, "whole")
            assert added is not None
            row = {"job_id": job.id, "site": site, "kind": "whole", "data": pack_sums(added)}
            session.execute(tables.total.insert().values(row))


def store_rows(folder: str, pairs: int = CHUNK) -> float:
    """Store scores the other way, a row each, in commits of 64 pairs; give the pairs stored in a second."""
    engine = create_engine(f"sqlite:///{folder}/rows.db")
    metadata = MetaData()
    keys = [Column(name, Integer, primary_key=True) for name in ("pair", "layer", "position", "head")]
    table = Table("score", metadata, *keys, Column("score", Double))
    metadata.create_all(engine)
    rows = [
        dict(zip(("pair", "layer", "position", "head", "score"), (*place, 0.5), strict=True))
        for place in itertools.product(range(pairs), range(LAYERS), range(POSITIONS), range(HEADS))
    ]
    start = time.perf_counter()
    with engine.begin() as connection:
        connection.execute(table.insert(), rows)
    spent = time.perf_counter() - start
    engine.dispose()
    return pairs / spent


def seconds(question: Callable[[], object], times: int = 5) -> float:
    """Give the median time of some tries, after one that is not counted."""
    question()
    tries = []
    for _ in range(times):
        start = time.perf_counter()
        question()
        tries.append(time.perf_counter() - start)
    return statistics.median(tries)


def measure_full(folder: str, pairs: int, exact: float) -> dict[str, float]:
    """Store jobs in full and ask about the last."""
    figures: dict[str, float] = {}
    with Database.open(f"sqlite:///{folder}/full.db") as database:
        for detail in ("pairs", "positions"):
            job = submit(database, JobSpec("gpt2", sites=("z",), detail=detail, exact=exact), pairs)
            figures[f"stored, detail {detail} (pairs/s)"] = store(database, job)
        figures["stored as a row a score (pairs/s)"] = rows = store_rows(folder)
        figures["ratio, detail positions to a row a score"] = (
            figures["stored, detail positions (pairs/s)"] / rows
        )
        with database.read() as session:
            figures["one pair, all its scores (s)"] = seconds(
                lambda: pairview.pair(session, job, pairs // 2), 50
            )
            figures["top 20 components (s)"] = seconds(lambda: components.top(session, job))
            figures["verification (s)"] = seconds(lambda: verification.verification(session, job))
    return figures


def measure_large(folder: str, pairs: int) -> dict[str, float]:
    """Ask about a job of very many pairs, first as it runs, then as it is finished."""
    figures: dict[str, float] = {}
    with Database.open(f"sqlite:///{folder}/large.db") as database:
        start = time.perf_counter()
        job = submit(database, JobSpec("gpt2"), pairs)
        figures[f"submit of {pairs:,} pairs (s)"] = time.perf_counter() - start
        store_sums(database, job)
        with database.read() as session:
            figures[f"top 20 of {pairs:,} pairs, running (s)"] = seconds(
                lambda: components.top(session, job), 3
            )
            figures[f"progress of {pairs:,} pairs (s)"] = seconds(lambda: jobs.progress(session, job.id))
            figures[f"one of {pairs:,} pairs (s)"] = seconds(
                lambda: pairview.pair(session, job, pairs // 2), 50
            )
        store_totals(database, job)
        with database.read() as session:
            figures[f"top 20 of {pairs:,} pairs, finished (s)"] = seconds(
                lambda: components.top(session, job)
            )
    return figures


@click.command()
@click.option("--pairs", default=20_000, help="Pairs of the jobs that are stored in full; 0 for none.")
@click.option("--large", default=1_000_000, help="Pairs of the large job; 0 for none.")
@click.option("--exact", default=0.05, help="Share of cells with exact rows.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(pairs: int, large: int, exact: float, json_file: Path | None) -> None:
    """Measure storing and asking on SQLite, in a folder of its own."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if pairs:
            figures |= measure_full(folder, pairs, exact)
        if large:
            figures |= measure_large(folder, large)
    for name, value in figures.items():
        sys.stdout.write(f"{name:<44} {value:>12,.4g}\n")
    if json_file is not None:
        setting = {"pairs": pairs, "large": large, "exact": exact}
        json_file.write_text(json.dumps({"setting": setting, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
