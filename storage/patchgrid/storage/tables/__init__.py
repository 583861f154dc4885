"""The tables. Types and constraints are those that SQLite and PostgreSQL share.

A pair is known by (`job_id`, `pair_index`), its row number in the job. Tables that hold rows for each pair
are kept in that order on disk, so that a pair's rows, and a chunk's, lie together. No foreign key guards
those rows: checking one for each of them would cost more than writing it, and workers of one job would wait
for each other. Writers lock the chunk, which `jobs.delete` locks first; `checking` verifies it.
"""

from patchgrid.storage.tables.access import idempotency, submission, token
from patchgrid.storage.tables.columns import metadata
from patchgrid.storage.tables.jobs import chunk, job, pair
from patchgrid.storage.tables.missed import missed, missed_design
from patchgrid.storage.tables.results import (
    HAS_FAILED,
    checksum,
    component_estimate,
    cost,
    exact,
    failed_pair,
    mean,
    method_score,
    outcome,
    pilot,
    provenance,
    rounding,
    scores,
    sums,
    task,
    top_component,
    total,
)
from patchgrid.storage.tables.rounds import plan, race, refinement
from patchgrid.storage.tables.workers import load_failure, worker

__all__ = [
    "HAS_FAILED",
    "checksum",
    "chunk",
    "component_estimate",
    "cost",
    "exact",
    "failed_pair",
    "idempotency",
    "job",
    "load_failure",
    "mean",
    "metadata",
    "method_score",
    "missed",
    "missed_design",
    "outcome",
    "pair",
    "pilot",
    "plan",
    "provenance",
    "race",
    "refinement",
    "rounding",
    "scores",
    "submission",
    "sums",
    "task",
    "token",
    "top_component",
    "total",
    "worker",
]
