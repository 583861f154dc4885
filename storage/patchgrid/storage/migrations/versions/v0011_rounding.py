"""The rounding floor: effects of patches that are nothing but rounding, summed by chunk.

Revision 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
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


def downgrade() -> None:
    op.drop_table("rounding")
