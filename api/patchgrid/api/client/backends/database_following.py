"""Following a job in a database: what it looks like now, again and again until it ends."""

import time
from collections.abc import Callable, Iterator

from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseLocked, DatabaseUnavailable
from patchgrid.storage.queue.job_status import Snapshot, look


def follow(
    database: Database, job_id: int, *, every: float = 1.0, say: Callable[[str], None]
) -> Iterator[Snapshot]:
    """Yield the job now and every `every` seconds, and a last time when it has ended.

    An unavailable database is retried; `say` is told once.
    """
    wait, away = min(0.1, every), False
    while True:
        try:
            with database.read() as session:
                snapshot = look(session, job_id)
        except (DatabaseUnavailable, DatabaseLocked) as error:
            if not away:
                say(f"{error}; retrying")
            away = True
        else:
            away = False
            yield snapshot
            if snapshot.ended:
                return
        time.sleep(wait)
        wait = min(2 * wait, every)
