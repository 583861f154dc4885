"""Retrying while the database is unavailable, locked or on a full disk, so that no results are lost."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from patchgrid.storage.db.database import Database
from patchgrid.storage.errors import DatabaseFull, DatabaseGone, DatabaseLocked, DatabaseUnavailable

_log = logging.getLogger(__name__)

#: Temporary errors: retried.
AWAY = (DatabaseFull, DatabaseLocked, DatabaseUnavailable, OperationalError, InterfaceError)
#: Errors that end a helper thread and are passed to the main thread.
LOST = (*AWAY, DatabaseGone)
#: Seconds before the first retry, and the longest pause.
_FIRST, _MOST = 0.5, 10.0
#: Seconds between checks whether to stop retrying.
_LOOK = 0.1

Result = TypeVar("Result")


class Waiting:
    """Retries transactions until they succeed."""

    def __init__(
        self,
        database: Database,
        *,
        seconds: float = float("inf"),
        over: Callable[[], bool] = lambda: False,
        on_wait: Callable[[str | None], None] = lambda _trouble: None,
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._over = over
        self._on_wait = on_wait

    def read(self, action: Callable[[Session], Result]) -> Result:
        """Return the result of a reading `action`."""
        return self._insist(self._database.read, action)

    def write(self, action: Callable[[Session], Result]) -> Result:
        """Return the result of a writing `action` once it is committed.

        An action whose commit was interrupted may have been committed, and is run again anyway. After the
        timeout, or once it is `over`, the database's error is raised.
        """
        return self._insist(self._database.write, action)

    def _insist(
        self, begin: Callable[[], AbstractContextManager[Session]], action: Callable[[Session], Result]
    ) -> Result:
        deadline = time.monotonic() + self._seconds
        pause, waited = _FIRST, False
        while True:
            try:
                with begin() as session:
                    result = action(session)
            except AWAY as error:
                if self._over() or time.monotonic() >= deadline:
                    raise
                trouble = _first_line(error)
                if not waited:
                    _log.warning("%s; retrying", trouble)
                self._on_wait(trouble)
                self._sleep(min(pause, max(0.0, deadline - time.monotonic())))
                pause, waited = min(2 * pause, _MOST), True
            else:
                if waited:
                    _log.info("database %s is available again", self._database.label)
                    self._on_wait(None)
                return result

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._over():
            time.sleep(min(left, _LOOK))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
