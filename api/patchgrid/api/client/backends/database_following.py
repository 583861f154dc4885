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

    A database that does not answer is asked again; of that `say` hears once.
    """
    wait, away = min(0.1, every), False
    while True:
        try:
            with database.read() as session:
                found = look(session, job_id)
        except (DatabaseUnavailable, DatabaseLocked) as error:
            if not away:
                say(f"{error}; retrying")
            away = True
        else:
            away = False
            yield found
            if found.ended:
                return
        time.sleep(wait)
        wait = min(2 * wait, every)
