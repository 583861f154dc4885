"""The tables. Types and constraints are those that SQLite and PostgreSQL share.

A pair is known by (`job_id`, `pair_index`), its row number in the job. Tables that hold rows for each pair
are kept in that order on disk, so that a pair's rows, and a chunk's, lie together. No foreign key guards
those rows: checking one for each of them would cost more than writing it, and workers of one job would wait
for each other. Whoever writes them has locked the chunk, which `jobs.delete` locks first; `checking` looks.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_Json = JSON(none_as_null=True)


def _pair_key() -> tuple[Column[int], Column[int]]:
    return (
        Column("job_id", Integer, primary_key=True, autoincrement=False),
        Column("pair_index", Integer, primary_key=True, autoincrement=False),
    )


def _job_id(*, primary_key: bool = False) -> Column[int]:
    return Column("job_id", ForeignKey("job.id"), primary_key=primary_key, nullable=False)


def _method() -> Column[str]:
    # Behind the blobs, and with a default: so older tables could be given it without being copied.
    return Column("method", String(16), primary_key=True, server_default="atp")


def _component() -> tuple[Column[str], Column[int], Column[int | None], Column[int | None]]:
    return (
        Column("site", String(32), nullable=False),
        Column("layer", Integer, nullable=False),
        Column("head", Integer),
        Column("neuron", Integer),
    )


# An id is never given twice (sqlite_autoincrement): a worker that outlived its deleted job must not be able
# to finish a later job's chunk.
job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("name", Text),
    Column("spec", _Json, nullable=False),
    # state: pending, running, paused, done, failed or cancelled.
    Column("state", String(16), nullable=False),
    Column("spans", _Json, nullable=False),
    Column("pairs", Integer, nullable=False),
    Column("chunk_size", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error", Text),
    # Bytes of the pairs, and of the results once the job has ended.
    Column("pair_bytes", BigInteger, nullable=False, server_default="0"),
    Column("result_bytes", BigInteger),
    sqlite_autoincrement=True,
)

pair = Table(
    "pair",
    metadata,
    *_pair_key(),
    Column("name", Text),
    Column("clean", Text, nullable=False),
    Column("corrupted", Text, nullable=False),
    Column("correct", _Json, nullable=False),
    Column("incorrect", _Json, nullable=False),
    Column("spans", _Json),
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

provenance = Table(
    "provenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("revision", Text),
    Column("config_hash", Text, nullable=False),
    Column("weights_hash", Text, nullable=False),
    Column("versions", _Json, nullable=False),
    Column("dtype", String(16), nullable=False),
    Column("device", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("graph", _Json),
)

# state: pending, leased, held (of a paused job), done, failed or cancelled. Whether a chunk may be claimed is
# told by its own row alone, and so is the model it needs.
chunk = Table(
    "chunk",
    metadata,
    Column("id", Integer, primary_key=True),
    _job_id(),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("lease_until", Double),
    Column("worker", Text),
    # The pair that a worker measuring pair by pair is at; what it died of, if it dies.
    Column("at_pair", Integer),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("seconds", Double),
    Column("finished_at", Double),
    Column("error", Text),
    Column("provenance_id", ForeignKey("provenance.id"), index=True),
    # Pairs left out because the model does not get them right (`only_correct`).
    Column("skipped", Integer, nullable=False, server_default="0"),
    # Within a model and priority, the chunk of the lowest turn is claimed first (see `fairshare`).
    Column("turn", BigInteger, nullable=False, server_default="0"),
    # Bytes of its results.
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)
# With the job behind, a queue's length by job is read off it alone.
Index(
    "ix_chunk_model",
    *(chunk.c.state, chunk.c.model, chunk.c.priority.desc()),
    *(chunk.c.turn, chunk.c.id, chunk.c.job_id),
)
Index("ix_chunk_job_state", chunk.c.job_id, chunk.c.state, chunk.c.turn, chunk.c.id)
Index("uq_chunk_job_first", chunk.c.job_id, chunk.c.first, unique=True)

# state: done, failed or skipped. The preferences are those of `estimates.task`; the answers' tokens are as
# text, in the order of the pair's answers. Both are NULL where the pair failed, or was measured before there
# were such columns.
outcome = Table(
    "outcome",
    metadata,
    *_pair_key(),
    Column("state", String(16), nullable=False),
    Column("error", Text),
    Column("warning", Text),
    Column("tokens", _Json, nullable=False),
    Column("corrupted_tokens", _Json, nullable=False),
    Column("clean_metric", Double),
    Column("corrupted_metric", Double),
    Column("prefix", Integer),
    Column("clean_preference", Double),
    Column("corrupted_preference", Double),
    Column("correct_tokens", _Json),
    Column("incorrect_tokens", _Json),
    sqlite_with_rowid=False,
)
_FAILED = text("state = 'failed'")
Index(
    "ix_outcome_failed",
    outcome.c.job_id,
    outcome.c.state,
    outcome.c.pair_index,
    sqlite_where=_FAILED,
    postgresql_where=_FAILED,
)
#: The failed pairs' keys, with the condition of that index word for word, or no database would use it. The
#: rest of a row is in `outcome`: asked for it here, SQLite would read all pairs of the job.
failed_pair = outcome.alias("failed_pair")
HAS_FAILED = failed_pair.c.state == literal_column("'failed'")

#: One row a chunk: whether the model does the task on its pairs; see `estimates.task.TaskSummary`. The pairs
#: that are named are a few row numbers.
task = Table(
    "task",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    _job_id(),
    Column("pairs", Integer, nullable=False),
    Column("measured", Integer, nullable=False),
    Column("clean_sum", Double, nullable=False),
    Column("corrupted_sum", Double, nullable=False),
    Column("difference_squares", Double, nullable=False),
    Column("clean_correct", Integer, nullable=False),
    Column("corrupted_incorrect", Integer, nullable=False),
    Column("swapped", Integer, nullable=False),
    Column("swapped_pairs", _Json, nullable=False),
    Column("outside_vocabulary", Integer, nullable=False),
    Column("outside_pairs", _Json, nullable=False),
    Index("ix_task_job_id", "job_id"),
)

#: One row a chunk that was patched: effects of patches that are nothing but rounding; see
#: `estimates.rounding.Rounding`.
rounding = Table(
    "rounding",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    _job_id(),
    Column("cells", Integer, nullable=False),
    Column("squares", Double, nullable=False),
    Index("ix_rounding_job_id", "job_id"),
)

#: One blob a chunk, site, kind and method: the sums over the chunk's pairs.
sums = Table(
    "sums",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("kind", String(16), primary_key=True),
    _job_id(),
    Column("data", LargeBinary, nullable=False),
    _method(),
)
Index("ix_sums_job", sums.c.job_id, sums.c.method, sums.c.site, sums.c.kind, sums.c.chunk_id)

#: One blob a finished job, site, kind and method: its chunks' sums added up, once.
total = Table(
    "total",
    metadata,
    _job_id(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    _method(),
)

#: One blob a job and site: the sums over the job's pilot pairs, by the first of its methods, fixed by the
#: first worker.
pilot = Table(
    "pilot",
    metadata,
    _job_id(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a job and site: mean activations, `[layer, width]`, where they are put into the base run; fixed by
#: the first worker.
mean = Table(
    "mean",
    metadata,
    _job_id(primary_key=True),
    Column("site", String(32), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

#: One blob a chunk, site and method: the scores of the chunk's pairs.
scores = Table(
    "scores",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("site", String(32), primary_key=True),
    _job_id(),
    Column("data", LargeBinary, nullable=False),
    _method(),
    Index("ix_scores_job_id", "job_id"),
)

#: Seconds that a chunk's scores took by each method; `shared` is what all methods share, `exact` patching.
cost = Table(
    "cost",
    metadata,
    Column("chunk_id", ForeignKey("chunk.id"), primary_key=True),
    Column("method", String(16), primary_key=True),
    _job_id(),
    Column("seconds", Double, nullable=False),
    Index("ix_cost_job_id", "job_id"),
)

# `cell` numbers a pair's cells in the order of an export; `score` is by the first of the job's methods.
exact = Table(
    "exact",
    metadata,
    *_pair_key(),
    Column("cell", Integer, primary_key=True),
    *_component(),
    Column("position", Integer),
    Column("span", Text),
    Column("score", Double, nullable=False),
    Column("effect", Double, nullable=False),
    Column("inclusion", Double, nullable=False),
    Column("edge", Text),
    sqlite_with_rowid=False,
)

#: The score of a cell of `exact` by each further method of its job.
method_score = Table(
    "method_score",
    metadata,
    *_pair_key(),
    Column("cell", Integer, primary_key=True),
    Column("method", String(16), primary_key=True),
    Column("score", Double, nullable=False),
    sqlite_with_rowid=False,
)

# The components of largest |score| by the first of the job's methods, over all sites.
top_component = Table(
    "top_component",
    metadata,
    *_pair_key(),
    Column("rank", Integer, primary_key=True),
    *_component(),
    Column("score", Double, nullable=False),
    Column("edge", Text),
    sqlite_with_rowid=False,
)

#: Checksums of what is stored for good (see `checksums`): of a job as it was submitted, of each finished
#: chunk, of a job's end. `chunk_id` is 0 but for chunks.
checksum = Table(
    "checksum",
    metadata,
    _job_id(primary_key=True),
    Column("what", String(8), primary_key=True),
    Column("chunk_id", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    sqlite_with_rowid=False,
)

# state: starting, idle, working, waiting (for the database's disk or server), draining or stopped. A worker
# whose `seen_at` is old is lost, whatever its state.
worker = Table(
    "worker",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("models", _Json, nullable=False),
    Column("loaded", _Json, nullable=False),
    Column("state", String(16), nullable=False),
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
    Column("failures", _Json, nullable=False),
    sqlite_autoincrement=True,
)

#: One row a model that a worker could not load, until it could.
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

#: Who may use the HTTP service. `hash`: SHA-256 of the secret part of the token, in hexadecimal digits. A
#: token is revoked, never deleted: jobs remember whose they are. Of a name's tokens one is not revoked.
token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", _Json, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("used_at", Double),
    # NULL: what the server allows tokens without limits of their own.
    Column("max_priority", Integer),
    Column("max_bytes", BigInteger),
    sqlite_autoincrement=True,
)
_IN_USE = text("revoked_at IS NULL")
Index("uq_token_name", token.c.name, unique=True, sqlite_where=_IN_USE, postgresql_where=_IN_USE)

#: A job's owners. `owner`: `token 3`, `user alice`, or `open` (the HTTP service without tokens).
#: `withdrawn_at`: when this owner cancelled or deleted the job; for the others it goes on.
submission = Table(
    "submission",
    metadata,
    _job_id(primary_key=True),
    Column("owner", String(80), primary_key=True),
    Column("token_id", ForeignKey("token.id"), index=True),
    Column("submitted_at", Double, nullable=False),
    Column("withdrawn_at", Double),
    Index("ix_submission_owner", "owner", "job_id"),
)

#: What a client called a submit, so that repeating it does nothing: the job that it gave. `hash`: SHA-256 of
#: the client's key, which may be of any length.
idempotency = Table(
    "idempotency",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("token_id", ForeignKey("token.id")),
    _job_id(),
    Index("ix_idempotency_job_id", "job_id"),
)
Index("uq_idempotency_token", idempotency.c.token_id, idempotency.c.hash, unique=True)
# No NULL is like another to a unique index.
_OPEN = text("token_id IS NULL")
Index("uq_idempotency_open", idempotency.c.hash, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
