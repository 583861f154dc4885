"""Freeing the space of deleted rows: `patchgrid db vacuum`."""

import sqlite3

from patchgrid.storage.db.database import Database
from patchgrid.storage.db.translate import translated
from patchgrid.storage.jobs import deletion


def vacuum(url: str, *, timeout: float = 30) -> tuple[int, int]:
    """Finish interrupted deletions and vacuum a database; return its bytes before and after."""
    with Database.open(url, create=False, timeout=timeout) as database, translated(database.label):
        deletion.finish(database)
        # In no transaction: VACUUM begins one by itself.
        engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            if isinstance(driver, sqlite3.Connection):
                return _vacuum_file(driver)
            before = connection.exec_driver_sql(_SIZE).scalar_one()
            connection.exec_driver_sql("VACUUM")
            return before, connection.exec_driver_sql(_SIZE).scalar_one()


_SIZE = "SELECT pg_database_size(current_database())"


def _vacuum_file(driver: sqlite3.Connection) -> tuple[int, int]:
    before = _pages(driver)
    driver.execute("VACUUM")
    # What was written goes from the write-ahead log into the file, which is cut to its size.
    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = driver.execute("PRAGMA page_size").fetchone()[0]
    return before * size, _pages(driver) * size


def _pages(driver: sqlite3.Connection) -> int:
    return int(driver.execute("PRAGMA page_count").fetchone()[0])
