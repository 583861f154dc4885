"""The first tables."""

from typing import Any

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
    _create_arrays()
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


def _required(of_type: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns of one type, which hold no null."""
    return [sa.Column(name, of_type, nullable=False) for name in names]


def _optional(of_type: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns of one type, which may hold null."""
    return [sa.Column(name, of_type) for name in names]


def _key_of_pair() -> list[sa.Column[Any]]:
    key = ("job_id", "pair_index")
    return [sa.Column(name, sa.Integer(), autoincrement=False, nullable=False) for name in key]


def _foreign_keys(table: str, *others: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([f"{other}_id"], [f"{other}.id"], name=f"fk_{table}_{other}_id")
        for other in others
    ]


def _create_provenance() -> None:
    op.create_table(
        "provenance",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text()),
        *_required(sa.Text(), "config_hash", "weights_hash"),
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
        *_required(sa.Integer(), "pairs", "chunk_size", "priority"),
        sa.Column("created_at", sa.Double(), nullable=False),
        *_optional(sa.Double(), "started_at", "finished_at"),
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
        *_key_of_pair(),
        sa.Column("name", sa.Text()),
        *_required(sa.Text(), "clean", "corrupted"),
        *_required(sa.JSON(), "correct", "incorrect"),
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
        *_required(sa.Integer(), "id", "job_id", "first", "last"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        *_required(sa.Integer(), "epoch", "attempts"),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("worker", sa.Text()),
        sa.Column("at_pair", sa.Integer()),
        *_required(sa.Integer(), "done", "failed", "skipped"),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        *_optional(sa.Double(), "seconds", "finished_at"),
        sa.Column("error", sa.Text()),
        sa.Column("provenance_id", sa.Integer()),
        sa.CheckConstraint(
            "state IN ('pending', 'leased', 'held', 'done', 'failed', 'cancelled')", name="ck_chunk_state"
        ),
        *_foreign_keys("chunk", "job", "provenance"),
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
        *_key_of_pair(),
        sa.Column("state", sa.String(16), nullable=False),
        *_optional(sa.Text(), "error", "warning"),
        *_required(sa.JSON(), "tokens", "corrupted_tokens"),
        *_optional(sa.Double(), "clean_metric", "corrupted_metric"),
        sa.Column("prefix", sa.Integer()),
        *_optional(sa.Double(), "clean_preference", "corrupted_preference"),
        *_optional(sa.JSON(), "correct_tokens", "incorrect_tokens"),
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
        *_key_of_pair(),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        *_optional(sa.Integer(), "head", "unit", "position"),
        sa.Column("span", sa.Text()),
        *_required(sa.Double(), "score", "effect", "inclusion"),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "cell", name="pk_exact"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "method_score",
        *_key_of_pair(),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "cell", "method", name="pk_method_score"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "top_component",
        *_key_of_pair(),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        *_optional(sa.Integer(), "head", "unit"),
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
        *_optional(sa.Integer(), "head", "unit", "position"),
        *_optional(sa.Text(), "span", "sender", "receiver"),
        sa.Column("n", sa.Integer(), nullable=False),
        *_required(sa.Double(), "mean", "mean_abs"),
        *_optional(sa.Double(), "std", "estimate", "ci_low", "ci_high"),
        sa.Column("exact_n", sa.Integer(), nullable=False),
        *_foreign_keys("component_estimate", "job"),
        sa.PrimaryKeyConstraint("job_id", "method", "rank", name="pk_component_estimate"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_component_estimate_component", "component_estimate", ["component", "job_id"])


def _create_blobs(table: str, *key: str) -> None:
    """Create a table of arrays by site, of each chunk or of a whole job."""
    of_chunks = key[0] == "chunk_id"
    op.create_table(
        table,
        sa.Column(key[0], sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        *_required(sa.String(16), *key[2:]),
        *_required(sa.Integer(), *["job_id"] * of_chunks),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        *_foreign_keys(table, *["chunk"] * of_chunks, "job"),
        sa.PrimaryKeyConstraint(*key, name=f"pk_{table}"),
    )


def _create_arrays() -> None:
    _create_blobs("sums", "chunk_id", "site", "kind", "method")
    op.create_index("ix_sums_job", "sums", ["job_id", "method", "site", "kind", "chunk_id"])
    _create_blobs("total", "job_id", "site", "kind", "method")
    _create_blobs("scores", "chunk_id", "site", "method")
    op.create_index("ix_scores_job_id", "scores", ["job_id"])
    _create_blobs("pilot", "job_id", "site")
    _create_blobs("mean", "job_id", "site")


def _create_task() -> None:
    op.create_table(
        "task",
        *_required(sa.Integer(), "chunk_id", "job_id", "pairs", "measured"),
        *_required(sa.Double(), "clean_sum", "corrupted_sum", "difference_squares"),
        *_required(sa.Integer(), "clean_correct", "corrupted_incorrect", "swapped"),
        sa.Column("swapped_pairs", sa.JSON(), nullable=False),
        sa.Column("outside_vocabulary", sa.Integer(), nullable=False),
        sa.Column("outside_pairs", sa.JSON(), nullable=False),
        *_foreign_keys("task", "chunk", "job"),
        sa.PrimaryKeyConstraint("chunk_id", name="pk_task"),
    )
    op.create_index("ix_task_job_id", "task", ["job_id"])


def _create_costs() -> None:
    op.create_table(
        "rounding",
        *_required(sa.Integer(), "chunk_id", "job_id", "cells"),
        sa.Column("squares", sa.Double(), nullable=False),
        *_foreign_keys("rounding", "chunk", "job"),
        sa.PrimaryKeyConstraint("chunk_id", name="pk_rounding"),
    )
    op.create_index("ix_rounding_job_id", "rounding", ["job_id"])
    op.create_table(
        "cost",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        *_foreign_keys("cost", "chunk", "job"),
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
        *_foreign_keys("checksum", "job"),
        sa.PrimaryKeyConstraint("job_id", "what", "chunk_id", name="pk_checksum"),
        sqlite_with_rowid=False,
    )


def _create_tokens() -> None:
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        *_required(sa.String(64), "name", "hash"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        *_optional(sa.Double(), "expires_at", "revoked_at", "used_at"),
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
        *_foreign_keys("submission", "job", "token"),
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
        *_foreign_keys("idempotency", "job", "token"),
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
        *_required(sa.JSON(), "models", "loaded"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text()),
        *_optional(sa.Integer(), "job_id", "chunk_id"),
        *_optional(sa.BigInteger(), "memory_used", "memory_total"),
        *_required(sa.Double(), "started_at", "seen_at"),
        *_required(sa.Integer(), "drain", "chunks", "pairs"),
        sa.Column("pairs_per_second", sa.Double()),
        *_required(sa.Integer(), "lease_losses", "takeovers"),
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
        *_required(sa.String(255), "worker", "model"),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("worker", "model", name="pk_load_failure"),
    )
    op.create_index("ix_load_failure_model", "load_failure", ["model"])
