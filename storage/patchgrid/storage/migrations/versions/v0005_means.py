"""The mean activations of a job that puts them into the base run.

Revision 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "mean",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_mean_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", name="pk_mean"),
    )
    if op.get_bind().dialect.name != "sqlite":
        # Blobs are numbers, which trying to compress makes slow to write and hardly smaller.
        op.execute("ALTER TABLE mean ALTER COLUMN data SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("mean")
