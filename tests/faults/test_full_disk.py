"""The disk of the database full: nothing is stored by halves, and work goes on when there is room."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from patchgrid.storage import Database, checking
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import Trial, trial
from support.faults.fleet import Fleet, MakeFleet
from support.machines.servers import Postgres

#: More pages than any test fills.
ROOM = 10**6
#: Makes every row of results fail as it does when the server's disk is full.
_TRIGGER = """
CREATE SCHEMA disk;
CREATE TABLE disk.filled (yes boolean);
INSERT INTO disk.filled VALUES (false);
CREATE FUNCTION disk.check_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT yes FROM disk.filled) THEN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER room AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION disk.check_room();
"""


def assert_waits_for_room(work: Trial, fleet: Fleet, seconds: float) -> None:
    """Hold what is seen while there is no room: nothing more is done, nothing by halves, nobody gives up."""
    time.sleep(1)  # what was being written is written
    before = work.progress()
    time.sleep(seconds)
    during = work.progress()
    assert before.done == during.done < during.total
    assert during.chunks_failed == 0
    assert checking.check(work.database.url).problems == ()
    assert fleet.codes == []


def assert_goes_on(work: Trial, fleet: Fleet, workers: int) -> None:
    """Hold the job to the undisturbed run once there is room; no attempt was counted for the disk."""
    work.wait_until_over(fleet)
    assert fleet.end() == [0] * workers
    assert fleet.codes == []
    work.assert_exact()
    assert max(row.attempts for row in work.rows()) == 1


def pages(database: Database) -> int:
    """Count the pages of an SQLite database."""
    with database.read() as session:
        return int(session.scalar(text("PRAGMA page_count")) or 0)


def write_bound(file: Path, count: int) -> None:
    """Tell the workers how many pages there may be; they read the file at any moment."""
    new = file.with_suffix(".new")
    new.write_text(str(count), encoding="utf-8")
    new.replace(file)


def assert_full_file_is_waited_out(
    url: str, folder: Path, make_fleet: MakeFleet, *, chunks: int, workers: int, times: int, seconds: float
) -> None:
    """Let the file grow no further, for a while, so many times."""
    bound = folder / "pages"
    with trial(url, folder, make_pairs(8 * chunks), chunk_size=8) as work:
        write_bound(bound, ROOM)
        with make_fleet(url, workers, pages=str(bound), pair_seconds=0.01) as fleet:
            for number in range(times):
                work.wait_until_done((number + 1) * chunks // (times + 2), fleet)
                write_bound(bound, pages(work.database) + 2)
                assert_waits_for_room(work, fleet, seconds)
                write_bound(bound, ROOM)
            assert_goes_on(work, fleet, workers)


def test_a_full_disk_of_a_file_is_waited_out(sqlite_url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """SQLite itself says that it is full; the workers keep what they have computed."""
    assert_full_file_is_waited_out(sqlite_url, tmp_path, make_fleet, chunks=40, workers=2, times=1, seconds=2)


@pytest.mark.slow
def test_a_disk_of_a_file_that_is_full_thrice_is_waited_out(
    sqlite_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """For longer than a lease each time, with eight workers."""
    assert_full_file_is_waited_out(
        sqlite_url, tmp_path, make_fleet, chunks=400, workers=8, times=3, seconds=12
    )


@contextmanager
def full(postgres: Postgres, database: str) -> Iterator[None]:
    """Let the server's disk be full for the time of a `with` block."""
    postgres.execute("UPDATE disk.filled SET yes = true", database)
    try:
        yield
    finally:
        postgres.execute("UPDATE disk.filled SET yes = false", database)


def assert_full_server_is_waited_out(
    postgres: Postgres,
    url: str,
    folder: Path,
    make_fleet: MakeFleet,
    table: str,
    *,
    chunks: int,
    workers: int,
    times: int,
    seconds: float,
) -> None:
    """Let the rows of a table not be written, for a while, so many times."""
    database = url.rpartition("/")[2]
    with trial(url, folder, make_pairs(8 * chunks), chunk_size=8) as work:
        postgres.execute(_TRIGGER.format(table=table), database)
        with make_fleet(url, workers, pair_seconds=0.01) as fleet:
            for number in range(times):
                work.wait_until_done((number + 1) * chunks // (times + 2), fleet)
                with full(postgres, database):
                    assert_waits_for_room(work, fleet, seconds)
            assert_goes_on(work, fleet, workers)


def test_a_full_disk_of_a_server_is_waited_out(
    postgres: Postgres, postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """It fails at the first table that results are written to."""
    assert_full_server_is_waited_out(
        postgres, postgres_url, tmp_path, make_fleet, "outcome", chunks=40, workers=2, times=1, seconds=2
    )


@pytest.mark.slow
@pytest.mark.parametrize("table", ["outcome", "exact"])
def test_a_disk_of_a_server_that_is_full_thrice_is_waited_out(
    postgres: Postgres, postgres_url: str, tmp_path: Path, make_fleet: MakeFleet, table: str
) -> None:
    """Wherever it fails in a chunk's writing; for longer than a lease each time, with eight workers."""
    assert_full_server_is_waited_out(
        postgres, postgres_url, tmp_path, make_fleet, table, chunks=400, workers=8, times=3, seconds=12
    )
