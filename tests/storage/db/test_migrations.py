"""The migrations make exactly the tables that the code speaks of."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, select, text

from patchgrid.storage import Database, checking, errors, tables
from patchgrid.storage.access import ownership
from patchgrid.storage.db import schema
from patchgrid.storage.db.connection import for_writing
from patchgrid.storage.jobs import jobs
from patchgrid.storage.pair_results import pair_list, pair_view
from patchgrid.storage.queue import leases
from patchgrid.storage.results import components, verification
from support.storage.chunk_results import make_spec
from support.storage.storage_backends import run_chunk, run_job, submit_job

MIGRATIONS = Path(schema.__file__).parents[1] / "migrations"


def table_names(connection: Connection) -> set[str]:
    """Give the names of the tables there are."""
    return set(inspect(connection).get_table_names())


def set_revision(url: str, revision: str) -> None:
    """Pretend that another version wrote the database."""
    with Database.open(url) as database, database.write() as session:
        session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))


@contextmanager
def migrated(database: Database, target: str) -> Iterator[Connection]:
    """Migrate up or down to a revision as an upgrade does, then give the connection."""
    with for_writing(database.engine).connect() as connection:
        schema._ignore_foreign_keys(connection)
        with connection.begin():
            schema.migrate(connection, target)
            schema._check_foreign_keys(connection, "test")
            yield connection
        connection.invalidate()


def test_the_migrated_schema_is_the_one_in_the_code(database: Database) -> None:
    """Nothing that Alembic can see differs."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, tables.metadata) == []


def test_sqlite_statements_are_those_of_the_code(tmp_path: Path) -> None:
    """To the word, so also what Alembic does not compare: WITHOUT ROWID, AUTOINCREMENT, partial indexes."""
    statements = text("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE :version")
    created = create_engine(f"sqlite:///{tmp_path}/created.db")
    tables.metadata.create_all(created)
    with (
        created.connect() as wanted,
        Database.open(f"sqlite:///{tmp_path}/migrated.db") as database,
        database.read() as found,
    ):
        query = {"version": f"%{schema.VERSION_TABLE}%"}
        assert _words(found.execute(statements, query).all()) == _words(
            wanted.execute(statements, query).all()
        )
    created.dispose()


def _words(rows: Iterable[Any]) -> dict[str, list[str]]:
    """Give each statement's words: SQLite puts a column that is added on the line of the one before."""
    return {name: re.findall(r"[\w.]+|[^\w\s]", sql or "") for name, sql in rows}


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


def test_downgrading_takes_everything_away_and_upgrading_brings_it_back(database: Database) -> None:
    """On a database that was in use."""
    run_job(database, submit_job(database))
    with migrated(database, "base") as connection:
        assert table_names(connection) == {schema.VERSION_TABLE}
    with migrated(database, "head") as connection:
        assert table_names(connection) == {*tables.metadata.tables, schema.VERSION_TABLE}
    run_job(database, submit_job(database))


def test_an_older_database_has_to_be_upgraded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how."""
    Database.open(url).close()
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "9999"))
    with pytest.raises(errors.DatabaseOlder, match="patchgrid db upgrade"):
        Database.open(url)


def test_a_newer_database_is_refused(url: str) -> None:
    """By opening it and by upgrading it; it is left as it is."""
    set_revision(url, "9999")
    with pytest.raises(errors.DatabaseNewer, match="a newer patchgrid wrote it"):
        Database.open(url)
    with pytest.raises(errors.DatabaseNewer):
        schema.upgrade(url)


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


def test_a_database_from_before_the_cluster_goes_on_where_it_was(database: Database, url: str) -> None:
    """Its chunks learn their model, ids go on after the last ever given, nothing is computed again."""
    job = submit_job(database, 12)
    run_chunk(database, job)
    gone = submit_job(database, 40, key="gone")
    with database.write() as session:
        jobs.delete(session, gone.id)
    with migrated(database, "0002") as connection:
        assert "model" not in {column["name"] for column in inspect(connection).get_columns("chunk")}
        assert "worker" not in table_names(connection)
    database.close()
    assert schema.upgrade(url) == ("0002", schema.REVISIONS[-1])
    with Database.open(url) as upgraded:
        with upgraded.write() as session:
            lease = leases.claim(session, "worker", models=["a/model"])
            assert lease is not None
            assert lease.first == 4
            assert leases.release(session, lease)
        assert run_job(upgraded, job).state == "done"
        later = submit_job(upgraded, 4, key="later")
        with upgraded.read() as session:
            chunk = tables.chunk
            ids = session.scalars(select(chunk.c.id).where(chunk.c.job_id == later.id)).all()
        assert min(ids) > 3 + 10
    assert checking.check(url).problems == ()


def test_a_job_from_before_there_were_several_methods_goes_on(database: Database, url: str) -> None:
    """Its sums, totals and scores are by the one method there was; what is added later adds up with them."""
    done = run_job(database, submit_job(database, 8, key="done"))
    begun = submit_job(database, 12, key="begun")
    run_chunk(database, begun)
    with database.read() as session:
        rows = components.components(session, done)
        view = pair_view.pair(session, done, 5)
    with migrated(database, "0003") as connection:
        inspected = inspect(connection)
        for table in ("sums", "total", "scores"):
            assert "method" not in inspected.get_pk_constraint(table)["constrained_columns"]
        assert {"cost", "method_score"}.isdisjoint(table_names(connection))
    database.close()
    assert schema.upgrade(url) == ("0003", schema.REVISIONS[-1])
    with Database.open(url) as upgraded:
        run_job(upgraded, begun)
        with upgraded.read() as session:
            for table in (tables.sums, tables.total, tables.scores):
                assert set(session.scalars(select(table.c.method))) == {"atp"}
            assert components.components(session, done) == rows
            assert pair_view.pair(session, done, 5).top == view.top
            assert verification.cost(session, done).exact is None
            together = components.components(session, jobs.get(session, begun.id))
        alone = run_job(upgraded, submit_job(upgraded, 12, key="alone"))
        with upgraded.read() as session:
            assert together == components.components(session, alone)
    assert checking.check(url).problems == ()


def test_failed_pairs_of_an_older_database_are_found(database: Database, url: str) -> None:
    """By the index that they did not have; its jobs are nobody's."""
    job = run_job(database, submit_job(database, 9), failed=(2, 5))
    with database.read() as session:
        failed = jobs.errors(session, job.id)
    with migrated(database, "0005") as connection:
        assert {"token", "submission", "idempotency"}.isdisjoint(table_names(connection))
        assert "ix_outcome_failed" not in {
            each["name"] for each in inspect(connection).get_indexes("outcome")
        }
    database.close()
    assert schema.upgrade(url) == ("0005", schema.REVISIONS[-1])
    with Database.open(url) as upgraded, upgraded.read() as session:
        assert len(failed) == 2
        assert jobs.errors(session, job.id) == failed
        found = pair_list.page(session, job, state="failed").items
        assert [(line.pair, line.error) for line in found] == failed
        assert ownership.owners_of(session, job.id) == []
    assert checking.check(url).problems == ()


def test_of_several_methods_an_older_version_gets_the_first(database: Database) -> None:
    """Downgrading leaves what the older tables can hold."""
    spec = make_spec(method="relp,atp")
    job = run_job(database, submit_job(database, 8, spec=spec))
    with database.read() as session:
        rows = components.components(session, job, method="relp")
        stored = session.scalars(select(tables.sums.c.data).where(tables.sums.c.method == "relp")).all()
    assert rows
    with migrated(database, "0003") as connection:
        assert sorted(connection.scalars(text("SELECT data FROM sums"))) == sorted(stored)
