"""The schema version: reading it, creating a database, and upgrading an older one.

Alembic runs the migrations; it is loaded only when there is something to migrate.
"""

import re
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from patchgrid.storage import tables
from patchgrid.storage.db.connection import (
    check_file,
    for_writing,
    is_sqlite,
    label,
    make_engine,
    prepare_file,
    read_url,
)
from patchgrid.storage.db.translate import translated
from patchgrid.storage.errors import (
    CorruptData,
    DatabaseMissing,
    DatabaseNewer,
    DatabaseOlder,
    NotADatabase,
)

#: The migrations under `migrations/versions`, oldest first.
REVISIONS = ("v0001", "v0002")
#: Revisions of versions before the first release, which are not supported.
_UNRELEASED = re.compile(r"\d{4}")
#: The table that holds the revision.
VERSION_TABLE = "patchgrid_version"


def revision(connection: Connection) -> str | None:
    """Return the database's revision, or None if it is empty; `NotADatabase` if another program uses it."""
    present = set(inspect(connection).get_table_names())
    if VERSION_TABLE in present:
        current: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        if current is not None:
            return current
    # A PostgreSQL database may be shared; a file is ours or it is not.
    others = present if connection.dialect.name == "sqlite" else present & set(tables.metadata.tables)
    if others:
        name = label(connection.engine.url)
        raise NotADatabase(
            f"database {name}: contains another program's tables ({min(others)}): give another with --db"
        )
    return None


def ensure_current(engine: Engine, *, create: bool, timeout: float) -> None:
    """Create the tables of an empty database if `create`; raise unless the database has this version."""
    with engine.connect() as connection:
        current = revision(connection)
    name = label(engine.url)
    if current is None:
        if not create:
            raise DatabaseMissing(
                f"database {name} is empty: give another with --db, or fill it with `patchgrid run` or "
                "`patchgrid submit`"
            )
        _make_ready(engine, timeout=timeout)
    elif current not in REVISIONS:
        raise _unknown(name, current)
    elif current != REVISIONS[-1]:
        raise DatabaseOlder(
            f"database {name}: written by an older patchgrid (version {current}, not {REVISIONS[-1]}): "
            "make a copy of it and run `patchgrid db upgrade`"
        )


def upgrade(url: str, *, timeout: float = 30) -> tuple[str | None, str]:
    """Upgrade a database in one transaction; return the old and the new revision."""
    parsed = read_url(url)
    if is_sqlite(parsed):
        check_file(parsed, create=False)
    engine = make_engine(parsed, timeout=timeout)
    name = label(parsed)
    try:
        with translated(name):
            with engine.connect() as connection:
                old = revision(connection)
            if old is None:
                _make_ready(engine, timeout=timeout)
            elif old not in REVISIONS:
                raise _unknown(name, old)
            else:
                _upgrade(engine, name)
    finally:
        engine.dispose()
    return old, REVISIONS[-1]


def migrate(connection: Connection) -> None:
    """Run the missing migrations within the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parents[1] / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    command.upgrade(config, "head")


def _make_ready(engine: Engine, *, timeout: float) -> None:
    """Create the tables of an empty database, unless another process just did."""
    if engine.dialect.name == "sqlite":
        prepare_file(engine, timeout=timeout)
    with for_writing(engine).begin() as connection:
        _lock_schema(connection)
        if revision(connection) is None:
            migrate(connection)


def _upgrade(engine: Engine, name: str) -> None:
    with for_writing(engine).connect() as connection:
        _ignore_foreign_keys(connection)
        with connection.begin():
            _lock_schema(connection)
            migrate(connection)
            _check_foreign_keys(connection, name)


def _unknown(name: str, current: str) -> DatabaseOlder | DatabaseNewer:
    if _UNRELEASED.fullmatch(current):
        return DatabaseOlder(
            f"database {name}: written by a patchgrid before the first release (schema {current}, not "
            f"{REVISIONS[-1]}), which cannot be upgraded: export its results with that version, and give a "
            "new database with --db"
        )
    return DatabaseNewer(
        f"database {name}: written by a newer patchgrid (version {current}, not {REVISIONS[-1]}): "
        "upgrade patchgrid, or give another database with --db"
    )


def _lock_schema(connection: Connection) -> None:
    """Let one process migrate at a time; on SQLite, BEGIN IMMEDIATE does."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(7349021)"))


def _ignore_foreign_keys(connection: Connection) -> None:
    """Let a migration rebuild tables: SQLite deletes, or refuses, what refers to a table that is dropped."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.execute("PRAGMA foreign_keys = OFF")


def _check_foreign_keys(connection: Connection, name: str) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise CorruptData(
            f"database {name}: rows of table {broken[0]} refer to rows of {broken[2]} that are missing"
        )
