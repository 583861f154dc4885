"""The migrations make exactly the tables that the code speaks of."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from patchgrid.core.states import DELETING, ChunkState, JobState, PairState, WorkerState
from patchgrid.storage import Database, errors, tables
from patchgrid.storage.db import schema
from support.storage.storage_backends import run_job, submit_job

MIGRATIONS = Path(schema.__file__).parents[1] / "migrations"


def set_revision(url: str, revision: str) -> None:
    """Pretend that another version wrote the database."""
    with Database.open(url) as database, database.write() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))


def test_the_migrated_schema_is_the_one_in_the_code(database: Database) -> None:
    """Nothing that Alembic can see differs."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, tables.metadata) == []


@pytest.mark.parametrize(
    ("table", "states"),
    [
        ("job", {*JobState, DELETING}),
        ("chunk", {*ChunkState}),
        ("outcome", {*PairState} - {PairState.PENDING}),
        ("worker", {*WorkerState}),
    ],
)
def test_a_state_is_one_of_the_enum_s(database: Database, table: str, states: set[str]) -> None:
    """The database itself refuses any other."""
    with database.engine.connect() as connection:
        [check] = inspect(connection).get_check_constraints(table)
    assert {*re.findall(r"'(\w+)'", check["sqltext"])} == states
    submit_job(database)
    if table in ("job", "chunk"):
        with (
            database.engine.connect() as connection,
            pytest.raises(IntegrityError, match=f"ck_{table}_state"),
        ):
            connection.execute(text(f"UPDATE {table} SET state = 'lost'"))


def test_sqlite_statements_are_those_of_the_code(tmp_path: Path) -> None:
    """Also in what Alembic does not compare: WITHOUT ROWID, AUTOINCREMENT, partial indexes.

    The order of columns and constraints is free: a column that is added later stands behind all of them.
    """
    statements = text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE :version")
    created = create_engine(f"sqlite:///{tmp_path}/created.db")
    tables.metadata.create_all(created)
    with (
        created.connect() as wanted,
        Database.open(f"sqlite:///{tmp_path}/migrated.db") as database,
        database.read() as found,
    ):
        query = {"version": f"%{schema.VERSION_TABLE}%"}
        assert _clauses(found.execute(statements, query).all()) == _clauses(
            wanted.execute(statements, query).all()
        )
    created.dispose()


def _clauses(rows: Iterable[Any]) -> dict[str, list[str]]:
    """Return what each statement has between its outer brackets, in any order, and what is around them."""
    parts = {}
    for name, sql in rows:
        before, _, rest = " ".join((sql or "").split()).partition("(")
        inside, _, after = rest.rpartition(")")
        clauses = re.split(r", (?![^()]*\))", inside.strip())
        parts[name] = [before.replace('"', "").strip(), *sorted(clauses), after.strip()]
    return parts


def test_the_revisions_the_code_knows_are_the_migrations_there_are() -> None:
    """In order, in one line."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == schema.REVISIONS


def test_migrations_do_not_import_the_code_they_migrate() -> None:
    """A table that changes later must not change what an old migration does."""
    for path in MIGRATIONS.rglob("*.py"):
        assert "patchgrid" not in path.read_text(), path


def test_an_older_database_has_to_be_upgraded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how."""
    Database.open(url).close()
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "v9999"))
    with pytest.raises(errors.DatabaseOlder, match="patchgrid db upgrade"):
        Database.open(url)


def test_a_newer_database_is_refused(url: str) -> None:
    """By opening it and by upgrading it; it is left as it is."""
    set_revision(url, "v9999")
    with pytest.raises(errors.DatabaseNewer, match="written by a newer patchgrid"):
        Database.open(url)
    with pytest.raises(errors.DatabaseNewer):
        schema.upgrade(url)


@pytest.mark.parametrize("old", ["0001", "0011"])
def test_a_database_from_before_the_first_release_is_refused(url: str, old: str) -> None:
    """Opening and upgrading it say which version wrote it and what to do; it is left as it is."""
    set_revision(url, old)
    for attempt in (Database.open, schema.upgrade):
        with pytest.raises(errors.DatabaseOlder) as caught:
            attempt(url)
        message = str(caught.value)
        assert f"before the first release (schema {old}, not {schema.REVISIONS[-1]})" in message
        assert "export its results with that version, and give a new database with --db" in message
        assert "\n" not in message


def test_upgrading_a_current_database_changes_nothing(url: str) -> None:
    """It tells both versions."""
    with Database.open(url) as database:
        job = submit_job(database)
        assert schema.upgrade(url) == (schema.REVISIONS[-1], schema.REVISIONS[-1])
        run_job(database, job)


def test_upgrading_an_empty_file_makes_it_ready(tmp_path: Path) -> None:
    """As opening it does."""
    (tmp_path / "empty.db").touch()
    url = f"sqlite:///{tmp_path}/empty.db"
    assert schema.upgrade(url) == (None, schema.REVISIONS[-1])
    with Database.open(url, create=False) as database, database.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"


def test_upgrading_a_missing_database_makes_none(tmp_path: Path) -> None:
    """A wrong path must not end in an empty database."""
    with pytest.raises(errors.DatabaseMissing):
        schema.upgrade(f"sqlite:///{tmp_path}/no.db")
    assert list(tmp_path.iterdir()) == []


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of it is one transaction."""
    with Database.open(url) as database:
        job = submit_job(database)

    def stumble(connection: Connection) -> None:
        connection.execute(text("DROP TABLE exact"))
        connection.execute(text("UPDATE job SET name = 'changed'"))
        raise RuntimeError

    monkeypatch.setattr(schema, "migrate", stumble)
    with pytest.raises(RuntimeError):
        schema.upgrade(url)
    monkeypatch.undo()
    with Database.open(url) as database:
        assert run_job(database, job).name is None


def test_a_migration_may_rebuild_a_table_that_others_refer_to(
    sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite alters tables by copying them: nothing that refers to the old one may be lost with it."""
    url = f"sqlite:///{sqlite}"
    with Database.open(url) as database:
        job = submit_job(database)

    def rebuild(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE copy AS SELECT * FROM job"))
        connection.execute(text("DROP TABLE job"))
        tables.job.create(connection)
        connection.execute(text("INSERT INTO job SELECT * FROM copy"))
        connection.execute(text("DROP TABLE copy"))

    monkeypatch.setattr(schema, "migrate", rebuild)
    schema.upgrade(url)
    monkeypatch.undo()
    with Database.open(url) as database:
        assert run_job(database, job).state == "done"


def test_a_migration_that_leaves_rows_without_their_job_is_undone(
    sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign keys are off while SQLite migrates, so they are checked before it is committed."""
    url = f"sqlite:///{sqlite}"
    with Database.open(url) as database:
        job = submit_job(database)
    monkeypatch.setattr(schema, "migrate", lambda connection: connection.execute(text("DELETE FROM job")))
    with pytest.raises(errors.CorruptData, match="refer to rows of job"):
        schema.upgrade(url)
    monkeypatch.undo()
    with Database.open(url) as database:
        assert run_job(database, job).state == "done"
