"""Many workers: which model a chunk needs, the pair a worker is at, the workers, and models they cannot load.

Revision 0003, after 0002.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# A foreign key for each of a pair's rows costs more to check than the row costs to write.
_OF_PAIRS = ("pair", "outcome", "exact", "top_component")
_WITH_BLOBS = ("sums", "scores", "total", "pilot")
_END = "\n)\n WITHOUT ROWID"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_chunk(with_model=True)
        for table in _OF_PAIRS:
            _change_sql(table, _foreign_key(table) + _END, _END)
    else:
        op.add_column("chunk", sa.Column("model", sa.Text()))
        op.add_column("chunk", sa.Column("at_pair", sa.Integer()))
        op.execute(f"UPDATE chunk SET model = {_model_of('chunk')}")  # noqa: S608
        op.alter_column("chunk", "model", nullable=False)
        # Blobs are numbers, which trying to compress makes slow to write and hardly smaller.
        for table in _WITH_BLOBS:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")
        for table in _OF_PAIRS:
            op.drop_constraint(f"fk_{table}_job_id", table)
        op.drop_index("ix_chunk_claim", "chunk")
    op.create_index("ix_chunk_model", "chunk", ["state", "model", sa.text("priority DESC"), "job_id", "id"])
    _create_worker()
    op.create_table(
        "load_failure",
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("worker", "model", name="pk_load_failure"),
    )
    op.create_index("ix_load_failure_model", "load_failure", ["model"])


def downgrade() -> None:
    op.drop_table("load_failure")
    op.drop_table("worker")
    op.drop_index("ix_chunk_model", "chunk")
    op.execute("UPDATE chunk SET state = 'pending' WHERE state IN ('held', 'cancelled')")
    op.execute("UPDATE job SET state = 'running', finished_at = NULL WHERE state IN ('paused', 'cancelled')")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_chunk(with_model=False)
        for table in _OF_PAIRS:
            _change_sql(table, _END, _foreign_key(table) + _END)
    else:
        op.drop_column("chunk", "model")
        op.drop_column("chunk", "at_pair")
        for table in _WITH_BLOBS:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTENDED")
        for table in _OF_PAIRS:
            op.create_foreign_key(f"fk_{table}_job_id", table, "job", ["job_id"], ["id"])
    op.create_index("ix_chunk_claim", "chunk", ["state", sa.text("priority DESC"), "job_id", "id"])


def _foreign_key(table: str) -> str:
    return f", \n\tCONSTRAINT fk_{table}_job_id FOREIGN KEY(job_id) REFERENCES job (id)"


def _change_sql(table: str, old: str, new: str) -> None:
    """Change a table's constraints in place, as https://sqlite.org/lang_altertable.html (7) describes.

    Copying the tables instead would take long, and the disk twice.
    """
    connection = op.get_bind()
    of_table = "FROM sqlite_master WHERE type = 'table' AND name = :table"
    sql = connection.scalar(sa.text(f"SELECT sql {of_table}"), {"table": table})
    if sql.count(old) != 1:
        message = f"table {table} is not as it was made: {sql}"
        raise RuntimeError(message)
    version = connection.scalar(sa.text("PRAGMA schema_version"))
    op.execute("PRAGMA writable_schema = ON")
    change = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :table")
    connection.execute(change, {"sql": sql.replace(old, new), "table": table})
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = RESET")


def _create_worker() -> None:
    op.create_table(
        "worker",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("loaded", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("job_id", sa.Integer()),
        sa.Column("chunk_id", sa.Integer()),
        sa.Column("memory_used", sa.BigInteger()),
        sa.Column("memory_total", sa.BigInteger()),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("drain", sa.Integer(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("pairs_per_second", sa.Double()),
        sa.Column("lease_losses", sa.Integer(), nullable=False),
        sa.Column("takeovers", sa.Integer(), nullable=False),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_worker"),
        sa.UniqueConstraint("name", name="uq_worker_name"),
        sqlite_autoincrement=True,
    )


def _rebuild_chunk(*, with_model: bool) -> None:
    """Copy the table: SQLite cannot add a column that is never empty to a table with rows."""
    names = [column.name for column in _columns(with_model=False)]
    last = op.get_bind().scalar(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'chunk'"))
    op.execute("CREATE TABLE chunk_before AS SELECT * FROM chunk")
    op.drop_table("chunk")
    op.create_table(
        "chunk",
        *_columns(with_model=with_model),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_chunk_job_id"),
        sa.ForeignKeyConstraint(["provenance_id"], ["provenance.id"], name="fk_chunk_provenance_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chunk"),
        sqlite_autoincrement=True,
    )
    into, values = ", ".join(names), ", ".join(names)
    if with_model:
        into, values = f"{into}, model", f"{values}, {_model_of('chunk_before')}"
    op.execute(f"INSERT INTO chunk ({into}) SELECT {values} FROM chunk_before")  # noqa: S608
    op.drop_table("chunk_before")
    _keep_numbering(last)
    op.create_index("ix_chunk_provenance_id", "chunk", ["provenance_id"])
    op.create_index("ix_chunk_job_state", "chunk", ["job_id", "state", "id"])
    op.create_index("uq_chunk_job_first", "chunk", ["job_id", "first"], unique=True)


def _keep_numbering(last: int | None) -> None:
    """Go on numbering after the last id ever given: SQLite forgets it with the table."""
    if last is not None:
        op.execute("DELETE FROM sqlite_sequence WHERE name = 'chunk'")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('chunk', {int(last)})")  # noqa: S608


def _model_of(table: str) -> str:
    """Give the SQL for the model of a chunk's job."""
    read = "json_extract(spec, '$.model')" if op.get_bind().dialect.name == "sqlite" else "spec ->> 'model'"
    return f"(SELECT {read} FROM job WHERE job.id = {table}.job_id)"  # noqa: S608


def _columns(*, with_model: bool) -> list[sa.Column[Any]]:
    columns: list[sa.Column[Any]] = [
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("worker", sa.Text()),
        sa.Column("at_pair", sa.Integer()),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.Column("provenance_id", sa.Integer()),
    ]
    return [column for column in columns if with_model or column.name not in ("model", "at_pair")]
