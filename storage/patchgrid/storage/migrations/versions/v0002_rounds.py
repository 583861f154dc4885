"""Rounds of exact patching after the scores; groups of pairs."""

import sqlalchemy as sa
from alembic import op

revision = "v0002"
down_revision = "v0001"


def upgrade() -> None:
    op.add_column("job", sa.Column("rounds", sa.Integer()))
    op.add_column("job", sa.Column("groups", sa.Integer()))
    op.add_column("pair", sa.Column("group_name", sa.Text()))
    op.add_column("pair", sa.Column("group_number", sa.Integer()))
    for table in ("chunk", "exact", "method_score"):
        op.add_column(table, sa.Column("round", sa.Integer()))
    for name in ("pairs_low", "pairs_high"):
        op.add_column("component_estimate", sa.Column(name, sa.Double()))
    # The command that upgrades writes these rows again for all jobs that have NULL here.
    for name in ("shrunk", "heavy"):
        op.add_column("component_estimate", sa.Column(name, sa.Boolean()))
    _index_chunks()
    _create_rounds()
    _create_missed()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("plan", "race"):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")


def _index_chunks() -> None:
    op.drop_index("uq_chunk_job_first", "chunk")
    scores = sa.text("round IS NULL")
    op.create_index(
        "uq_chunk_job_first",
        "chunk",
        ["job_id", "first"],
        unique=True,
        sqlite_where=scores,
        postgresql_where=scores,
    )
    op.create_index("uq_chunk_job_round", "chunk", ["job_id", "round", "first"], unique=True)


def _create_rounds() -> None:
    op.create_table(
        "refinement",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_refinement_job_id"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_refinement"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "plan",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("refinement", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_plan_job_id"),
        sa.PrimaryKeyConstraint("job_id", "round", "site", name="pk_plan"),
    )
    op.create_table(
        "race",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_race_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_race_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "site", name="pk_race"),
    )
    op.create_index("ix_race_job_id", "race", ["job_id"])


def _create_missed() -> None:
    op.create_table(
        "missed_design",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_missed_design_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", name="pk_missed_design"),
    )
    op.create_table(
        "missed",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("pair_index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_missed_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", "pair_index", "round", name="pk_missed"),
    )
