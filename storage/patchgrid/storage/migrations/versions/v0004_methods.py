"""Several methods a job, edges, and what each method cost.

Revision 0004, after 0003.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# All that was stored before is by the one method there was.
_METHOD = "method VARCHAR(16) DEFAULT 'atp' NOT NULL"
#: Tables with a blob a method, and their keys before.
_BY_METHOD = {
    "sums": ("chunk_id", "site", "kind"),
    "total": ("job_id", "site", "kind"),
    "scores": ("chunk_id", "site"),
}
#: New columns that may be empty: table, name and type.
_NEW = (
    ("exact", "edge", "TEXT"),
    ("top_component", "edge", "TEXT"),
    ("provenance", "graph", "JSON"),
)


def upgrade() -> None:
    op.drop_index("ix_sums_job", "sums")
    if op.get_bind().dialect.name == "sqlite":
        for table, key in _BY_METHOD.items():
            _change_sql(table, _key(table, key), _method_and_key(table, key))
            # The key's index does not have the methods yet.
            op.execute(f"REINDEX {table}")
        for table, name, kind in _NEW:
            key_follows = f", \n\tCONSTRAINT pk_{table} "
            _change_sql(table, key_follows, f", \n\t{name} {kind}{key_follows}")
    else:
        for table, key in _BY_METHOD.items():
            op.execute(f"ALTER TABLE {table} ADD COLUMN {_METHOD}")
            _set_key(table, (*key, "method"))
        for table, name, kind in _NEW:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    op.create_index("ix_sums_job", "sums", ["job_id", "method", "site", "kind", "chunk_id"])
    _create_tables()


def downgrade() -> None:
    op.drop_table("method_score")
    op.drop_table("cost")
    op.drop_index("ix_sums_job", "sums")
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table, key in _BY_METHOD.items():
        # What the older version can tell apart is one method, the first.
        op.execute(f"DELETE FROM {table} WHERE method <> {_first_method(table)}")  # noqa: S608
        if sqlite:
            _copy(table, _sql(table).replace(_method_and_key(table, key), _key(table, key)))
        else:
            _set_key(table, key)
            op.drop_column(table, "method")
    if sqlite:
        op.create_index("ix_scores_job_id", "scores", ["job_id"])
    for table, name, _ in _NEW:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    op.create_index("ix_sums_job", "sums", ["job_id", "site", "kind", "chunk_id"])


def _key(table: str, key: Sequence[str]) -> str:
    return f", \n\tCONSTRAINT pk_{table} PRIMARY KEY ({', '.join(key)})"


def _method_and_key(table: str, key: Sequence[str]) -> str:
    return f", \n\t{_METHOD}{_key(table, (*key, 'method'))}"


def _set_key(table: str, key: Sequence[str]) -> None:
    op.drop_constraint(f"pk_{table}", table)
    op.create_primary_key(f"pk_{table}", table, list(key))


def _sql(table: str) -> str:
    """Give the statement that made a table on SQLite."""
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")
    return str(op.get_bind().scalar(query, {"table": table}))


def _change_sql(table: str, old: str, new: str) -> None:
    """Change a table in place, as https://sqlite.org/lang_altertable.html (7) describes.

    A row that ends before a column that was added behind the others has the column's default there. Copying
    the tables instead would take long, and the disk twice.
    """
    connection = op.get_bind()
    sql = _sql(table)
    if sql.count(old) != 1:
        message = f"table {table} is not as it was made: {sql}"
        raise RuntimeError(message)
    version = connection.scalar(sa.text("PRAGMA schema_version"))
    op.execute("PRAGMA writable_schema = ON")
    change = sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :table")
    connection.execute(change, {"sql": sql.replace(old, new), "table": table})
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = RESET")


def _copy(table: str, sql: str) -> None:
    """Make a table anew by `sql`, without its method."""
    connection = op.get_bind()
    connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_after")
    connection.exec_driver_sql(sql)
    names = ", ".join(column["name"] for column in sa.inspect(connection).get_columns(table))
    op.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {table}_after")  # noqa: S608
    op.drop_table(f"{table}_after")


def _first_method(table: str) -> str:
    """Give the SQL for the first method of the job of a row."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    method = "json_extract(spec, '$.method')" if sqlite else "spec ->> 'method'"
    first = (
        f"substr({method}, 1, instr({method} || ',', ',') - 1)" if sqlite else f"split_part({method}, ',', 1)"
    )
    return f"(SELECT {first} FROM job WHERE job.id = {table}.job_id)"  # noqa: S608


def _create_tables() -> None:
    op.create_table(
        "cost",
        sa.Column("chunk_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunk.id"], name="fk_cost_chunk_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_cost_job_id"),
        sa.PrimaryKeyConstraint("chunk_id", "method", name="pk_cost"),
    )
    op.create_index("ix_cost_job_id", "cost", ["job_id"])
    op.create_table(
        "method_score",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("pair_index", sa.Integer(), nullable=False),
        sa.Column("cell", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "pair_index", "cell", "method", name="pk_method_score"),
        sqlite_with_rowid=False,
    )
