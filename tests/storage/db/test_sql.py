"""SQL for people: it reads, and does nothing else."""

import time
from pathlib import Path

import pytest

from patchgrid.storage import Database, errors
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.sql import query_readonly
from support.storage.storage_backends import all_jobs, run_job, submit_job

#: Counts without end.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"


def test_a_query_gives_columns_and_rows(database: Database) -> None:
    """More rows than are fetched at a time."""
    submit_job(database, 1200, chunk_size=600)
    columns, rows = query_readonly(
        database, "SELECT pair_index, clean AS prompt FROM pair ORDER BY pair_index"
    )
    assert columns == ("pair_index", "prompt")
    assert list(rows) == [(index, f"clean {index}") for index in range(1200)]


def test_an_empty_result_still_has_columns(database: Database) -> None:
    """And no rows."""
    columns, rows = query_readonly(database, "SELECT id, state FROM job;")
    assert (columns, list(rows)) == (("id", "state"), [])


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM job",
        "INSERT INTO total VALUES (1, 'z', 'whole', x'00')",
        "UPDATE job SET name = 'changed'",
        "WITH one AS (SELECT 1) DELETE FROM job",
        "DROP TABLE exact",
        "CREATE TEMP TABLE t (x)",
        "ATTACH 'other.db' AS other",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "BEGIN IMMEDIATE",
        "VACUUM",
    ],
)
def test_whatever_writes_is_refused(database: Database, sql: str) -> None:
    """In one line; the database is as it was."""
    job = submit_job(database)
    with pytest.raises(errors.QueryError) as caught:
        query_readonly(database, sql)
    assert "\n" not in str(caught.value)
    with database.read() as session:
        assert all_jobs(session) == [job]
    assert run_job(database, job).state == "done"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM job", "nothing"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 1; SELECT 2", "statement|multiple commands"),
        ("SELECT ?", "bind|syntax"),
        ("SELECT 1\x00", "null character"),
    ],
)
def test_a_wrong_statement_is_explained(database: Database, sql: str, said: str) -> None:
    """In one line."""
    with pytest.raises(errors.QueryError, match=said) as caught:
        query_readonly(database, sql)
    assert "\n" not in str(caught.value)


def test_the_tables_can_be_looked_up(sqlite: Path) -> None:
    """Names and columns, as one does who writes SQL."""
    with Database.open(f"sqlite:///{sqlite}") as database:
        _, rows = query_readonly(database, "SELECT name FROM sqlite_master WHERE type = 'table'")
        assert ("top_component",) in list(rows)
        _, rows = query_readonly(database, "PRAGMA table_info(exact)")
        assert "effect" in [row[1] for row in rows]


def test_a_query_that_takes_too_long_is_stopped(database: Database) -> None:
    """Before its first row."""
    start = time.monotonic()
    with pytest.raises(errors.QueryError, match=r"longer than 0\.2 seconds"):
        query_readonly(database, ENDLESS.format("sum(i)"), timeout=0.2)
    assert time.monotonic() - start < 5


def test_a_query_whose_rows_never_end_is_stopped(database: Database) -> None:
    """While they are read."""
    _, rows = query_readonly(database, ENDLESS.format("i"), timeout=0.2)
    assert next(rows) == (1,)
    with pytest.raises(errors.QueryError, match="longer than"):
        for _ in rows:
            pass


def test_the_readers_own_time_does_not_count(database: Database) -> None:
    """Paging slowly through a result is no reason to end it."""
    submit_job(database, 1200, chunk_size=600)
    _, rows = query_readonly(database, "SELECT pair_index FROM pair", timeout=0.3)
    next(rows)
    time.sleep(0.4)
    assert len(list(rows)) == 1199


def test_a_reader_does_not_stop_a_writer(database: Database) -> None:
    """Nor a writer the reader, who sees what was there at first."""
    job = submit_job(database, 1200, chunk_size=600)
    _, rows = query_readonly(database, "SELECT state FROM job, pair")
    assert next(rows) == ("pending",)
    with database.write() as session:
        jobs.delete(session, job.id)
    assert len(list(rows)) == 1199


def test_a_query_is_explained(database: Database) -> None:
    """Behind comments, too; run for it or not, it writes nothing, and nothing goes along."""
    submit_job(database, 4)
    for sql in ("EXPLAIN SELECT * FROM job", "-- why\n/* so */ explain\tSELECT id FROM job WHERE id = 1;"):
        columns, rows = query_readonly(database, sql)
        assert columns
        assert list(rows)
    for sql in ("EXPLAIN SELECT 1; DELETE FROM job", "EXPLAIN SELECT 1; COMMIT; DELETE FROM job"):
        with pytest.raises(errors.QueryError):
            list(query_readonly(database, sql)[1])
    with pytest.raises(errors.QueryError, match="SQL: "):
        query_readonly(database, "EXPLAIN SELECT nothing FROM job")
    with database.read() as session:
        assert len(all_jobs(session)) == 1


def test_explain_analyze_writes_nothing_on_postgresql(database: Database, backend: str) -> None:
    """There it runs the statement; on SQLite there is no such thing."""
    submit_job(database, 4)
    if backend == "postgresql":
        columns, rows = query_readonly(database, "EXPLAIN (ANALYZE, FORMAT TEXT) SELECT count(*) FROM pair")
        assert columns == ("QUERY PLAN",)
        assert "actual" in next(rows)[0]
    with pytest.raises(errors.QueryError, match="read-only" if backend == "postgresql" else "SQL: "):
        query_readonly(database, "EXPLAIN ANALYZE DELETE FROM chunk")
    with database.read() as session:
        assert job_progress(session, all_jobs(session)[0].id).chunks_total == 1


def test_explaining_takes_no_longer_than_it_may(database: Database, backend: str) -> None:
    """It may run the statement."""
    if backend == "postgresql":
        with pytest.raises(errors.QueryError, match=r"longer than 0\.2 seconds"):
            query_readonly(database, "EXPLAIN ANALYZE " + ENDLESS.format("count(*)"), timeout=0.2)
