"""The first tables.

Revision 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_jobs()
    _create_chunks()
    _create_blobs()
    _create_pair_rows()


def downgrade() -> None:
    for table in (
        *("top_component", "exact", "outcome", "total", "scores", "sums"),
        *("chunk", "provenance", "pair", "job"),
    ):
        op.drop_table(table)


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
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("key", name="uq_job_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "pair",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pair_index", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("clean", sa.Text(), nullable=False),
        sa.Column("corrupted", sa.Text(), nullable=False),
        sa.Column("correct", sa.JSON(), nullable=False),
        sa.Column("incorrect", sa.JSON(), nullable=False),
        sa.Column("spans", sa.JSON()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_pair_job_id"),
        sa.PrimaryKeyConstraint("job_id", "pair_index", name="pk_pair"),
        sqlite_with_rowid=False,
    )
    named = sa.text("name IS NOT NULL")
    op.create_index(
        "uq_pair_name", "pair", ["job_id", "name"], unique=True, sqlite_where=named, postgresql_where=named
    )


def _create_chunks() -> None:
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
        sa.PrimaryKeyConstraint("id", name="pk_provenance"),
        sa.UniqueConstraint("hash", name="uq_provenance_hash"),
    )
    op.create_table(
        "chunk",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("worker", sa.Text()),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.Column("provenance_id", sa.Integer()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_chunk_job_id"),
        sa.ForeignKeyConstraint(["provenance_id"], ["provenance.id"], name="fk_chunk_provenance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chunk"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_chunk_provenance_id", "chunk", ["provenance_id"])
    op.create_index("ix_chunk_claim", "chunk", ["state", sa.text("priority DESC"), "job_id", "id"])
    op.create_index("ix_chunk_job_state", "chunk", ["job_id", "state", "id"])
    op.create_index("uq_chunk_job_first", "chunk", ["job_id", "first"], unique=True)


def _create_blobs() -> None:
    op.create_table(
        "sums",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_sums_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_sums_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "site", "kind", name="pk_sums"),
    )
    op.create_index("ix_sums_job", "sums", ["job_id", "site", "kind", "chunk_id"])
    op.create_table(
        "scores",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_scores_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_scores_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "site", name="pk_scores"),
    )
    op.create_index("ix_scores_job_id", "scores", ["job_id"])
    op.create_table(
        "total",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_total_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", "kind", name="pk_total"),
    )


def _create_pair_rows() -> None:
    op.create_table(
        "outcome",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pair_index", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("warning", sa.Text()),
        sa.Column("tokens", sa.JSON(), nullable=False),
        sa.Column("corrupted_tokens", sa.JSON(), nullable=False),
        sa.Column("clean_metric", sa.Double()),
        sa.Column("corrupted_metric", sa.Double()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_outcome_job_id"),
        sa.PrimaryKeyConstraint("job_id", "pair_index", name="pk_outcome"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "exact",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pair_index", sa.Integer(), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("head", sa.Integer()),
        sa.Column("neuron", sa.Integer()),
        sa.Column("position", sa.Integer()),
        sa.Column("span", sa.Text()),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("inclusion", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_exact_job_id"),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "cell", name="pk_exact"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "top_component",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pair_index", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("layer", sa.Integer(), nullable=False),
        sa.Column("head", sa.Integer()),
        sa.Column("neuron", sa.Integer()),
        sa.Column("score", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_top_component_job_id"),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "rank", name="pk_top_component"),
        sqlite_with_rowid=False,
    )
