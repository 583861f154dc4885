"""The database: opening it, and sessions to read and to write."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session


class Database:
    """An open database at the current version; threads may share it, forked processes may not."""

    def __init__(self, url: str, engine: Engine) -> None:
        self.url = url
        self._engine = engine

    @classmethod
    def open(cls, url: str, create: bool = True, *, timeout: float = 30) -> Self:
        """Open `sqlite:///file.db` or `postgresql+psycopg://…`, making a new or empty one ready if `create`.

        `timeout` is how many seconds to wait for another process's lock. Raises `StorageError`s: a wrong URL, a
        missing folder, another version's database, another program's file, a lock that is not let go.
        """
        raise NotImplementedError

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one state of the database throughout and is never blocked by a writer."""
        raise NotImplementedError

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session for one transaction: committed at the end, rolled back on any error."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
