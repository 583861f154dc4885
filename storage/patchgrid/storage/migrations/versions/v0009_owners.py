"""Several owners a job, fair share between them, and what a token may use.

Revision 0009, after 0008.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

#: New columns: table, name and definition.
_NEW = (
    ("job", "pair_bytes", "BIGINT DEFAULT '0' NOT NULL"),
    ("job", "result_bytes", "BIGINT"),
    ("chunk", "turn", "BIGINT DEFAULT '0' NOT NULL"),
    ("chunk", "bytes", "BIGINT DEFAULT '0' NOT NULL"),
    ("token", "max_priority", "INTEGER"),
    ("token", "max_bytes", "BIGINT"),
)
_TEXT_OF_PAIR = "length(clean) + length(corrupted) + length(correct) + length(incorrect)"


def upgrade() -> None:
    for table, name, kind in _NEW:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    _set_turns()
    _set_sizes()
    _index_chunks(("turn",))
    _rebuild_submission()


def downgrade() -> None:
    _index_chunks(())
    op.execute("CREATE TABLE submission_before AS SELECT job_id, token_id, owner FROM submission")
    op.drop_table("submission")
    op.create_table("submission", *_columns(with_owner=False), *_constraints("job_id"))
    op.create_index("ix_submission_token_id", "submission", ["token_id"])
    op.execute(
        "INSERT INTO submission (job_id, token_id) SELECT job_id, min(token_id) FROM submission_before "
        "WHERE owner = 'open' OR token_id IS NOT NULL GROUP BY job_id"
    )
    op.drop_table("submission_before")
    for table, name, _ in _NEW:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")


def _set_turns() -> None:
    """Let the jobs that wait take turns."""
    size = "(SELECT job.chunk_size FROM job WHERE job.id = chunk.job_id)"
    op.execute(f"UPDATE chunk SET turn = first / {size} WHERE state IN ('pending', 'held', 'leased')")  # noqa: S608


def _set_sizes() -> None:
    stored = " + ".join(
        f"coalesce((SELECT sum(length(data)) FROM {table} WHERE {table}.chunk_id = chunk.id), 0)"  # noqa: S608
        for table in ("sums", "scores")
    )
    op.execute(f"UPDATE chunk SET bytes = {stored} WHERE state = 'done'")  # noqa: S608
    text = _TEXT_OF_PAIR
    if op.get_bind().dialect.name == "postgresql":
        text = text.replace("(correct)", "(correct::text)").replace("(incorrect)", "(incorrect::text)")
    pairs = f"coalesce((SELECT sum({text}) FROM pair WHERE pair.job_id = job.id), 0)"  # noqa: S608
    op.execute(f"UPDATE job SET pair_bytes = {pairs}")  # noqa: S608
    results = "coalesce((SELECT sum(chunk.bytes) FROM chunk WHERE chunk.job_id = job.id), 0)"
    ended = "state IN ('done', 'failed', 'cancelled')"
    op.execute(f"UPDATE job SET result_bytes = {results} WHERE {ended}")  # noqa: S608


def _index_chunks(turn: tuple[str, ...]) -> None:
    for name in ("ix_chunk_model", "ix_chunk_job_state"):
        op.drop_index(name, "chunk")
    by = (*turn, "id", "job_id") if turn else ("job_id", "id")
    op.create_index("ix_chunk_model", "chunk", ["state", "model", sa.text("priority DESC"), *by])
    op.create_index("ix_chunk_job_state", "chunk", ["job_id", "state", *turn, "id"])


def _rebuild_submission() -> None:
    op.execute("CREATE TABLE submission_before AS SELECT job_id, token_id FROM submission")
    op.drop_table("submission")
    op.create_table("submission", *_columns(with_owner=True), *_constraints("job_id", "owner"))
    op.create_index("ix_submission_owner", "submission", ["owner", "job_id"])
    op.create_index("ix_submission_token_id", "submission", ["token_id"])
    owner = "CASE WHEN token_id IS NULL THEN 'open' ELSE 'token ' || token_id END"
    submitted = "(SELECT job.created_at FROM job WHERE job.id = submission_before.job_id)"
    op.execute(
        "INSERT INTO submission (job_id, owner, token_id, submitted_at) "  # noqa: S608
        f"SELECT job_id, {owner}, token_id, {submitted} FROM submission_before"
    )
    op.drop_table("submission_before")


def _columns(*, with_owner: bool) -> list[sa.Column[Any]]:
    columns: list[sa.Column[Any]] = [sa.Column("job_id", sa.Integer(), nullable=False)]
    if with_owner:
        columns.append(sa.Column("owner", sa.String(80), nullable=False))
    columns.append(sa.Column("token_id", sa.Integer(), nullable=True))
    if with_owner:
        columns.append(sa.Column("submitted_at", sa.Double(), nullable=False))
        columns.append(sa.Column("withdrawn_at", sa.Double(), nullable=True))
    return columns


def _constraints(*key: str) -> list[sa.Constraint]:
    return [
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_submission_job_id"),
        sa.ForeignKeyConstraint(["token_id"], ["token.id"], name="fk_submission_token_id"),
        sa.PrimaryKeyConstraint(*key, name="pk_submission"),
    ]
