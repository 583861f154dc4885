"""The database's version: which it is, making a new one, and bringing an older one up to date.

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

#: The migrations under `migrations/versions`, the first one first.
REVISIONS = ("v0001",)
#: Revisions of databases that versions before the first release wrote: none is read any more.
_UNRELEASED = re.compile(r"\d{4}")
#: The table that holds the revision.
VERSION_TABLE = "patchgrid_version"


def revision(connection: Connection) -> str | None:
    """Give the database's revision, or None if it is empty; `NotADatabase` if another program uses it."""
    present = set(inspect(connection).get_table_names())
    if VERSION_TABLE in present:
        found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        if found is not None:
            return found
    # A PostgreSQL database may be shared; a file is ours or it is not.
    others = present if connection.dialect.name == "sqlite" else present & set(tables.metadata.tables)
    if others:
        name = label(connection.engine.url)
        raise NotADatabase(
            f"database {name}: it holds another program's tables ({min(others)}): name another with --db"
        )
    return None


def ensure_current(engine: Engine, *, create: bool, timeout: float) -> None:
    """Make an empty database ready if `create`; raise unless the database then is of this version."""
    with engine.connect() as connection:
        found = revision(connection)
    name = label(engine.url)
    if found is None:
        if not create:
            raise DatabaseMissing(
                f"database {name}: it is empty: name another with --db, or fill it with `patchgrid run`"
            )
        _make_ready(engine, timeout=timeout)
    elif found not in REVISIONS:
        raise _unknown(name, found)
    elif found != REVISIONS[-1]:
        raise DatabaseOlder(
            f"database {name}: an older patchgrid wrote it (version {found}, not {REVISIONS[-1]}): "
            "make a copy of it and run `patchgrid db upgrade`"
        )


def upgrade(url: str, *, timeout: float = 30) -> tuple[str | None, str]:
    """Bring a database to this patchgrid's version in one transaction; give the old and the new revision."""
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
    """Run the migrations that the database lacks, within the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parents[1] / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    command.upgrade(config, "head")


def _make_ready(engine: Engine, *, timeout: float) -> None:
    """Turn an empty database into one of this version, unless another process does meanwhile."""
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


def _unknown(name: str, found: str) -> DatabaseOlder | DatabaseNewer:
    if _UNRELEASED.fullmatch(found):
        return DatabaseOlder(
            f"database {name}: a version of patchgrid before the first release wrote it (schema {found}, not "
            f"{REVISIONS[-1]}), and it cannot be upgraded: export its results with that version, and name a "
            "new database with --db"
        )
    return DatabaseNewer(
        f"database {name}: a newer patchgrid wrote it (version {found}, not {REVISIONS[-1]}): "
        "install the newer one, or name another database with --db"
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
