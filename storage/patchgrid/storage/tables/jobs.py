"""Jobs, their pairs and their chunks."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from patchgrid.core.states import DELETING, ChunkState, JobState
from patchgrid.storage.tables.columns import Json, job_id_column, metadata, pair_key_columns, state_column

# An id is never given twice (sqlite_autoincrement): a worker that outlived its deleted job must not be able
# to finish a later job's chunk.
job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("name", Text),
    Column("spec", Json, nullable=False),
    *state_column((*JobState, DELETING)),
    Column("spans", Json, nullable=False),
    Column("pairs", Integer, nullable=False),
    Column("chunk_size", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error", Text),
    # Bytes of the pairs, and of the results once the job has ended.
    Column("pair_bytes", BigInteger, nullable=False),
    Column("result_bytes", BigInteger),
    # Rounds of exact patching after the scores, the one that runs included; NULL: none.
    Column("rounds", Integer),
    # Groups of pairs; NULL: each pair is its own.
    Column("groups", Integer),
    sqlite_autoincrement=True,
)

pair = Table(
    "pair",
    metadata,
    *pair_key_columns(),
    Column("name", Text),
    Column("clean", Text, nullable=False),
    Column("corrupted", Text, nullable=False),
    Column("correct", Json, nullable=False),
    Column("incorrect", Json, nullable=False),
    Column("spans", Json),
    # The group's name in the pair file, or NULL; its number in the job, from 0, where pairs share groups.
    Column("group_name", Text),
    Column("group_number", Integer),
    sqlite_with_rowid=False,
)
Index(
    "uq_pair_name",
    pair.c.job_id,
    pair.c.name,
    unique=True,
    sqlite_where=pair.c.name.is_not(None),
    postgresql_where=pair.c.name.is_not(None),
)

# Whether a chunk can be claimed is told by its own row alone, and so is the model that it needs.
chunk = Table(
    "chunk",
    metadata,
    Column("id", Integer, primary_key=True),
    job_id_column(),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    *state_column(ChunkState),
    Column("priority", Integer, nullable=False),
    Column("model", Text, nullable=False),
    # Within a model and priority, the chunk with the lowest turn is claimed first (see `fair_share`).
    Column("turn", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("lease_until", Double),
    Column("worker", Text),
    # The pair that a worker measuring pair by pair is at; what it died of, if it dies.
    Column("at_pair", Integer),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    # Pairs that the model gets wrong (`only_correct`).
    Column("skipped", Integer, nullable=False),
    # Bytes of its results.
    Column("bytes", BigInteger, nullable=False),
    Column("seconds", Double),
    Column("finished_at", Double),
    Column("error", Text),
    Column("provenance_id", ForeignKey("provenance.id"), index=True),
    # NULL: it scores its pairs. Later rounds, from 1, patch more of their cells exactly.
    Column("round", Integer),
    sqlite_autoincrement=True,
)
# With the job behind, a queue's length by job is read off it alone.
Index(
    "ix_chunk_model",
    *(chunk.c.state, chunk.c.model, chunk.c.priority.desc()),
    *(chunk.c.turn, chunk.c.id, chunk.c.job_id),
)
Index("ix_chunk_job_state", chunk.c.job_id, chunk.c.state, chunk.c.turn, chunk.c.id)
_SCORES = chunk.c.round.is_(None)
Index(
    "uq_chunk_job_first",
    *(chunk.c.job_id, chunk.c.first),
    unique=True,
    sqlite_where=_SCORES,
    postgresql_where=_SCORES,
)
Index("uq_chunk_job_round", chunk.c.job_id, chunk.c.round, chunk.c.first, unique=True)
