"""Workers, by their last heartbeat."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from patchgrid.core.states import WorkerState
from patchgrid.storage.tables.columns import Json, metadata, state_column

# A worker whose `seen_at` is old is lost, whatever its state.
worker = Table(
    "worker",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("models", Json, nullable=False),
    Column("loaded", Json, nullable=False),
    *state_column(WorkerState),
    Column("message", Text),
    Column("job_id", Integer),
    Column("chunk_id", Integer),
    Column("memory_used", BigInteger),
    Column("memory_total", BigInteger),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("drain", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("pairs", Integer, nullable=False),
    Column("pairs_per_second", Double),
    Column("lease_losses", Integer, nullable=False),
    Column("takeovers", Integer, nullable=False),
    Column("failures", Json, nullable=False),
    sqlite_autoincrement=True,
)

#: One row per model that a worker could not load, until it could.
load_failure = Table(
    "load_failure",
    metadata,
    Column("worker", String(255), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("error", Text, nullable=False),
    Column("failed_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("ix_load_failure_model", "model"),
)
