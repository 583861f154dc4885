"""What the HTTP service needs: tokens, whose a job is, and lists that answer at once.

Revision 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _create_token()
    op.create_table(
        "submission",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_submission_job_id"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_submission_token_id"),
        sa.PrimaryKeyConstraint("job_id", name="pk_submission"),
    )
    op.create_index("ix_submission_token_id", "submission", ["token_id"])
    _create_idempotency()
    _create_index("ix_outcome_failed", "outcome", ["job_id", "state", "pair_index"], "state = 'failed'")


def downgrade() -> None:
    op.drop_index("ix_outcome_failed", "outcome")
    for table in ("idempotency", "submission", "token"):
        op.drop_table(table)


def _create_token() -> None:
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sqlite_autoincrement=True,
    )
    _create_index("uq_token_name", "token", ["name"], "revoked_at IS NULL", unique=True)


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=True),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_idempotency_token_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_idempotency_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_job_id", "idempotency", ["job_id"])
    op.create_index("uq_idempotency_token", "idempotency", ["token_id", "hash"], unique=True)
    _create_index("uq_idempotency_open", "idempotency", ["hash"], "token_id IS NULL", unique=True)


def _create_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    """Create an index of the rows that meet a condition."""
    some = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=some, postgresql_where=some)
