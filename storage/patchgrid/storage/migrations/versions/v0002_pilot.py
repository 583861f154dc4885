"""The pilot of a job: the sums over the pairs that tell sampling how large each component's scores are.

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "pilot",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_pilot_job_id"),
        sa.PrimaryKeyConstraint("job_id", "site", name="pk_pilot"),
    )


def downgrade() -> None:
    op.drop_table("pilot")
