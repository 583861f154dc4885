"""What `storage.py` stores: pairs, a chunk's result, a large job's sums, and rows for comparison."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Double, Integer, MetaData, Table, create_engine, select

from patchgrid.core.types import Pair
from patchgrid.estimates import Sums
from patchgrid.storage import Database, tables
from patchgrid.storage.chunks.chunk_result import ChunkResult, ExactCell, PairOutcome
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.chunks.sums import add_up, pack_sums
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.leases import Lease

LAYERS, POSITIONS, HEADS, CHUNK = 12, 20, 12, 64
TOKENS = tuple(f" token{n}" for n in range(POSITIONS))
USED = Provenance("gpt2", "main", "c" * 64, "w" * 64, {"torch": "2.13.0"}, "float32", "cpu", 0)


def make_pairs(count: int) -> Iterator[Pair]:
    for index in range(count):
        prompt = f"Then, John{index} and Mary went to the shop, and {{}} gave a book to"
        yield Pair(prompt.format("John"), prompt.format("Mary"), (" Mary",), (" John",))


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
            ExactCell(p, "z", layer, head, None, None, 0.5, 0.25, 0.1) for p, layer, head in cells.tolist()
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
    """Return the same numbers for another chunk."""
    size = lease.last - lease.first
    cells = [
        dataclasses.replace(cell, row=lease.first + cell.row) for cell in result.exact if cell.row < size
    ]
    scores = {site: arrays[:size] for site, arrays in result.scores.items()}
    return dataclasses.replace(result, outcomes=outcomes(lease), scores=scores, exact=cells)


def store_sums(database: Database, job: JobRecord) -> None:
    """Store sums for every chunk of a job, of 144 heads and of 12 MLPs, and nothing else."""
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
                {
                    "job_id": job.id,
                    "chunk_id": chunk_id,
                    "site": site,
                    "kind": "whole",
                    "method": "atp",
                    "data": blob,
                }
                for chunk_id in ids[start : start + 200]
                for site, blob in data.items()
            ]
            session.execute(tables.sums.insert(), rows)


def store_totals(database: Database, job: JobRecord) -> None:
    """Do what finishing the last chunk does."""
    with database.write() as session:
        for site in job.spec.query.sites:
            added = add_up(session, job.id, site, "whole", "atp")
            assert added is not None
            row = {"job_id": job.id, "site": site, "kind": "whole", "method": "atp", "data": pack_sums(added)}
            session.execute(tables.total.insert().values(row))


def store_done(database: Database, job: JobRecord, axes: tuple[int, ...]) -> None:
    """Store sums of this many components for every chunk of a job, and mark it done."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(CHUNK, *axes)).astype(np.float32)
    cells = np.argwhere(rng.random(scores.shape) < min(0.05, 20_000 / scores.size))
    blob = pack_sums(sampled_sums(scores, cells, len(cells) / scores.size))
    [site] = job.spec.query.sites
    with database.write() as session:
        chunk = tables.chunk
        ids = session.scalars(select(chunk.c.id).where(chunk.c.job_id == job.id)).all()
        row = {"job_id": job.id, "site": site, "kind": job.kind, "method": "atp", "data": blob}
        for chunk_id in ids:
            session.execute(tables.sums.insert(), [{**row, "chunk_id": chunk_id}])
        done = {"state": "done", "done": CHUNK, "finished_at": 0.0}
        session.execute(chunk.update().where(chunk.c.job_id == job.id).values(done))


def store_rows(url: str, pairs: int = CHUNK) -> float:
    """Store scores the other way, a row each, in commits of 64 pairs; give the pairs stored in a second."""
    engine = create_engine(url)
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
