"""The first tables.

Revision v0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None


def upgrade() -> None:
    _create_provenance()
    _create_jobs()
    _create_chunks()
    _create_outcomes()
    _create_cells()
    _create_estimates()
    _create_sums()
    _create_fixed_by_the_first_worker()
    _create_task()
    _create_costs()
    _create_checksums()
    _create_tokens()
    _create_owners()
    _create_workers()
    if op.get_bind().dialect.name == "postgresql":
        # Blobs are numbers: trying to compress them makes them slow to write and hardly smaller.
        for table in ("sums", "total", "scores", "pilot", "mean"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")


def _create_provenance() -> None:
    op.create_table(
        "provenance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text()),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("weights_hash", sa.Text(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("dtype", sa.String(16), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("graph", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name="pk_provenance"),
        sa.UniqueConstraint("hash", name="uq_provenance_hash"),
    )


def _create_jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("spans", sa.JSON(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("chunk_size", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.Column("pair_bytes", sa.BigInteger(), nullable=False),
        sa.Column("result_bytes", sa.BigInteger()),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'paused', 'done', 'failed', 'cancelled', 'deleting')",
            name="ck_job_state",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("key", name="uq_job_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pair",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pair_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("clean", sa.Text(), nullable=False),
        sa.Column("corrupted", sa.Text(), nullable=False),
        sa.Column("correct", sa.JSON(), nullable=False),
        sa.Column("incorrect", sa.JSON(), nullable=False),
        sa.Column("spans", sa.JSON()),
        sa.PrimaryKeyConstraint("job_id", "pair_index", name="pk_pair"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "uq_pair_name",
        "pair",
        ["job_id", "name"],
        unique=True,
        sqlite_where=sa.text("name IS NOT NULL"),
        postgresql_where=sa.text("name IS NOT NULL"),
    )


def _create_chunks() -> None:
    op.create_table(
        "chunk",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("worker", sa.Text()),
        sa.Column("at_pair", sa.Integer()),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.Column("provenance_id", sa.Integer()),
        sa.CheckConstraint(
            "state IN ('pending', 'leased', 'held', 'done', 'failed', 'cancelled')", name="ck_chunk_state"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_chunk_job_id"),
        sa.ForeignKeyConstraint(["provenance_id"], ["provenance.id"], name="fk_chunk_provenance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chunk"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_chunk_job_state", "chunk", ["job_id", "state", "turn", "id"])
    op.create_index(
        "ix_chunk_model",
        "chunk",
        ["state", "model", sa.literal_column("priority DESC"), "turn", "id", "job_id"],
    )
    op.create_index("ix_chunk_provenance_id", "chunk", ["provenance_id"])
    op.create_index("uq_chunk_job_first", "chunk", ["job_id", "first"], unique=True)


def _create_outcomes() -> None:
    op.create_table(
        "outcome",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pair_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("warning", sa.Text()),
        sa.Column("tokens", sa.JSON(), nullable=False),
        sa.Column("corrupted_tokens", sa.JSON(), nullable=False),
        sa.Column("clean_metric", sa.Double()),
        sa.Column("corrupted_metric", sa.Double()),
        sa.Column("prefix", sa.Integer()),
        sa.Column("clean_preference", sa.Double()),
        sa.Column("corrupted_preference", sa.Double()),
        sa.Column("correct_tokens", sa.JSON()),
        sa.Column("incorrect_tokens", sa.JSON()),
        sa.CheckConstraint("state IN ('done', 'failed', 'skipped')", name="ck_outcome_state"),
        sa.PrimaryKeyConstraint("job_id", "pair_index", name="pk_outcome"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_outcome_failed",
        "outcome",
        ["job_id", "state", "pair_index"],
        sqlite_where=sa.text("state = 'failed'"),
        postgresql_where=sa.text("state = 'failed'"),
    )


def _create_cells() -> None:
    op.create_table(
        "exact",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pair_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("head", sa.Integer()),
        sa.Column("unit", sa.Integer()),
        sa.Column("position", sa.Integer()),
        sa.Column("span", sa.Text()),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("inclusion", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "cell", name="pk_exact"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "method_score",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pair_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "cell", "method", name="pk_method_score"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "top_component",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pair_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("head", sa.Integer()),
        sa.Column("unit", sa.Integer()),
        sa.Column("score", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "rank", name="pk_top_component"),
        sqlite_with_rowid=False,
    )


def _create_estimates() -> None:
    op.create_table(
        "component_estimate",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("head", sa.Integer()),
        sa.Column("unit", sa.Integer()),
        sa.Column("position", sa.Integer()),
        sa.Column("span", sa.Text()),
        sa.Column("sender", sa.Text()),
        sa.Column("receiver", sa.Text()),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("mean_abs", sa.Double(), nullable=False),
        sa.Column("std", sa.Double()),
        sa.Column("estimate", sa.Double()),
        sa.Column("ci_low", sa.Double()),
        sa.Column("ci_high", sa.Double()),
        sa.Column("exact_n", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_component_estimate_job_id"),
        sa.PrimaryKeyConstraint("job_id", "method", "rank", name="pk_component_estimate"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_component_estimate_component", "component_estimate", ["component", "job_id"])


def _create_sums() -> None:
    op.create_table(
        "sums",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_sums_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_sums_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "site", "kind", "method", name="pk_sums"),
    )
    op.create_index("ix_sums_job", "sums", ["job_id", "method", "site", "kind", "chunk_id"])
    op.create_table(
        "total",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_total_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", "kind", "method", name="pk_total"),
    )
    op.create_table(
        "scores",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_scores_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_scores_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "site", "method", name="pk_scores"),
    )
    op.create_index("ix_scores_job_id", "scores", ["job_id"])


def _create_fixed_by_the_first_worker() -> None:
    op.create_table(
        "pilot",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_pilot_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", name="pk_pilot"),
    )
    op.create_table(
        "mean",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_mean_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", name="pk_mean"),
    )


def _create_task() -> None:
    op.create_table(
        "task",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("measured", sa.Integer(), nullable=False),
        sa.Column("clean_sum", sa.Double(), nullable=False),
        sa.Column("corrupted_sum", sa.Double(), nullable=False),
        sa.Column("difference_squares", sa.Double(), nullable=False),
        sa.Column("clean_correct", sa.Integer(), nullable=False),
        sa.Column("corrupted_incorrect", sa.Integer(), nullable=False),
        sa.Column("swapped", sa.Integer(), nullable=False),
        sa.Column("swapped_pairs", sa.JSON(), nullable=False),
        sa.Column("outside_vocabulary", sa.Integer(), nullable=False),
        sa.Column("outside_pairs", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_task_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_task_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", name="pk_task"),
    )
    op.create_index("ix_task_job_id", "task", ["job_id"])


def _create_costs() -> None:
    op.create_table(
        "rounding",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("squares", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_rounding_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_rounding_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", name="pk_rounding"),
    )
    op.create_index("ix_rounding_job_id", "rounding", ["job_id"])
    op.create_table(
        "cost",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_cost_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_cost_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "method", name="pk_cost"),
    )
    op.create_index("ix_cost_job_id", "cost", ["job_id"])


def _create_checksums() -> None:
    op.create_table(
        "checksum",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(8), nullable=False),
        sa.Column("chunk_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_checksum_job_id"),
        sa.PrimaryKeyConstraint("job_id", "what", "chunk_id", name="pk_checksum"),
        sqlite_with_rowid=False,
    )


def _create_tokens() -> None:
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.Column("used_at", sa.Double()),
        sa.Column("max_priority", sa.Integer()),
        sa.Column("max_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_token_name",
        "token",
        ["name"],
        unique=True,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )


def _create_owners() -> None:
    op.create_table(
        "submission",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("token_id", sa.Integer()),
        sa.Column("submitted_at", sa.Double(), nullable=False),
        sa.Column("withdrawn_at", sa.Double()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_submission_job_id"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_submission_token_id"),
        sa.PrimaryKeyConstraint("job_id", "owner", name="pk_submission"),
    )
    op.create_index("ix_submission_owner", "submission", ["owner", "job_id"])
    op.create_index("ix_submission_token_id", "submission", ["token_id"])
    op.create_table(
        "idempotency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("token_id", sa.Integer()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_idempotency_job_id"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_idempotency_token_id"),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_job_id", "idempotency", ["job_id"])
    op.create_index(
        "uq_idempotency_open",
        "idempotency",
        ["hash"],
        unique=True,
        sqlite_where=sa.text("token_id IS NULL"),
        postgresql_where=sa.text("token_id IS NULL"),
    )
    op.create_index("uq_idempotency_token", "idempotency", ["token_id", "hash"], unique=True)


def _create_workers() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("loaded", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("job_id", sa.Integer()),
        sa.Column("chunk_id", sa.Integer()),
        sa.Column("memory_used", sa.BigInteger()),
        sa.Column("memory_total", sa.BigInteger()),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("drain", sa.Integer(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("pairs_per_second", sa.Double()),
        sa.Column("lease_losses", sa.Integer(), nullable=False),
        sa.Column("takeovers", sa.Integer(), nullable=False),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('starting', 'idle', 'working', 'waiting', 'draining', 'stopped')",
            name="ck_worker_state",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_worker"),
        sa.UniqueConstraint("name", name="uq_worker_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "load_failure",
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("worker", "model", name="pk_load_failure"),
    )
    op.create_index("ix_load_failure_model", "load_failure", ["model"])
