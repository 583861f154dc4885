"""The few expressions that SQLite and PostgreSQL write differently."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Double, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):  # noqa: N801
    """The database's clock: seconds since 1970, UTC."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(*_: object, **__: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(*_: object, **__: object) -> str:
    # Not now(), which stands still for the whole transaction.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def may_be_lost(session: Session) -> None:
    """Let this transaction commit before it is flushed to the server's disk; SQLite never waits for that.

    A server crash may then lose it completely. Saves a disk flush.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_NOT_SYNCHRONOUS)


_NOT_SYNCHRONOUS = text("SET LOCAL synchronous_commit TO OFF")


def insert_new(session: Session, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique constraint says it exists; return whether it was inserted.

    Two processes that insert the same row at once both succeed, one of them with False.
    """
    statement = _insert(session, table).values(row).on_conflict_do_nothing().returning(table.c[0])
    return session.execute(statement).first() is not None


def insert_or_update(
    session: Session,
    table: Table,
    row: Mapping[str, Any],
    *,
    key: Sequence[Column[Any]],
    update: Mapping[str, Any],
) -> Any:
    """Insert a row, or update the existing one with its `key`; return the row's first column."""
    statement = _insert(session, table).values(row).on_conflict_do_update(index_elements=key, set_=update)
    return session.execute(statement.returning(table.c[0])).scalar_one()


def _insert(session: Session, table: Table) -> sqlite.Insert | postgresql.Insert:
    return (sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert)(table)
