"""The database: opening it, and sessions for reading and writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from patchgrid.storage.db import connection, schema
from patchgrid.storage.db.translate import translated
from patchgrid.storage.errors import DatabaseFull, DatabaseGone


class Database:
    """An open database at the current version; threads may share it, forked processes may not."""

    def __init__(self, url: str, engine: Engine, label: str) -> None:
        #: The opened file; None for PostgreSQL.
        self._file = connection.file_id(engine.url)
        #: Its URL.
        self.url = url
        #: The file, or the URL without its password: for messages.
        self.label = label
        self.engine = engine
        self._writing = connection.for_writing(engine)
        self._writing_at_once = connection.without_waiting(self._writing)
        self._reading = connection.for_reading(engine)

    @classmethod
    def open(
        cls, url: str, create: bool = True, *, timeout: float = 30, connections: int | None = None
    ) -> Self:
        """Open `sqlite:///file.db` or `postgresql+psycopg://…`, making a new or empty one ready if `create`.

        `timeout` is how many seconds to wait for another process's lock, and, where threads have at most so
        many `connections` at a time (None: as SQLAlchemy has it), for one of these. Raises `StorageError`s: a
        wrong URL, a missing folder, another version's database, another program's file, a lock
        timeout.
        """
        parsed = connection.read_url(url)
        made = connection.is_sqlite(parsed) and connection.check_file(parsed, create=create)
        engine = connection.make_engine(parsed, timeout=timeout, connections=connections)
        label = connection.label(parsed)
        try:
            with translated(label):
                schema.ensure_current(engine, create=create, timeout=timeout)
        except BaseException as error:
            engine.dispose()
            if made and isinstance(error, DatabaseFull):
                connection.drop_empty(parsed)
            raise
        return cls(url, engine, label)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session on one snapshot of the database, never blocked by a writer."""
        self._check_file()
        with translated(self.label), Session(self._reading) as session:
            yield session

    @contextmanager
    def write(self, *, wait: bool = True) -> Iterator[Session]:
        """Yield a session for one transaction: committed at the end, rolled back on any error.

        `DatabaseLocked` at once, not after the timeout, where SQLite would have to `wait` for another writer.
        """
        engine = self._writing if wait else self._writing_at_once
        self._check_file()
        with translated(self.label), Session(engine) as session, session.begin():
            yield session
            # Before the commit, too: nobody sees what is written to a deleted file.
            self._check_file()

    def _check_file(self) -> None:
        """Raise `DatabaseGone` if the opened file was deleted or replaced."""
        if self._file is not None and connection.file_id(self.engine.url) != self._file:
            raise DatabaseGone(
                f"database {self.label}: the file was deleted, moved or replaced while it was in use: put it "
                "back, or start again; nothing more is written"
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
