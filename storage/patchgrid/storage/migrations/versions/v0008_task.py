"""Whether the model does the task: preferences, answers as tokens, skipped pairs.

Revision 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("chunk", sa.Column("skipped", sa.Integer(), server_default="0", nullable=False))
    for side in ("clean", "corrupted"):
        op.add_column("outcome", sa.Column(f"{side}_preference", sa.Double(), nullable=True))
    for side in ("correct", "incorrect"):
        op.add_column("outcome", sa.Column(f"{side}_tokens", sa.JSON(), nullable=True))
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


def downgrade() -> None:
    op.drop_table("task")
    # An older version knows no skipped pairs: to it, they failed.
    op.execute(
        "UPDATE outcome SET state = 'failed', error = 'skipped: the model does not get it right' "
        "WHERE state = 'skipped'"
    )
    op.execute("UPDATE chunk SET failed = failed + skipped WHERE skipped > 0")
    op.drop_column("chunk", "skipped")
    for name in ("clean_preference", "corrupted_preference", "correct_tokens", "incorrect_tokens"):
        op.drop_column("outcome", name)
