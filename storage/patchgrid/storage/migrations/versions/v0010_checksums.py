"""Checksums of what is stored for good. What was stored before has none: `db check` says so.

Revision 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
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


def downgrade() -> None:
    op.drop_table("checksum")
