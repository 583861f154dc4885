"""Following a job that workers work off: what it looks like now, again and again until it ends."""

import time
from collections import deque
from collections.abc import Callable, Iterator

from patchgrid.cli.terminal.progress import Pace
from patchgrid.cli.terminal.screen import say
from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseLocked, DatabaseUnavailable
from patchgrid.storage.queue.job_status import Snapshot, look

#: Seconds over which the speed is taken.
_WINDOW = 60.0


def follow(database: Database, job_id: int, *, every: float = 1.0) -> Iterator[Snapshot]:
    """Give the job as it is now and every so many seconds, the last time when it has ended.

    A database that does not answer is asked again.
    """
    wait, away = min(0.1, every), False
    while True:
        try:
            with database.read() as session:
                found = look(session, job_id)
        except (DatabaseUnavailable, DatabaseLocked) as error:
            if not away:
                say(f"{error}; asking again")
            away = True
        else:
            away = False
            yield found
            if found.ended:
                return
        time.sleep(wait)
        wait = min(2 * wait, every)


class Speed:
    """Tells a job's pace from how far it was over the last minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, int]] = deque()

    def pace(self, found: Snapshot) -> Pace:
        """Give the pace at this moment; before anything was seen to finish, by what its workers say."""
        progress = found.progress
        reached = progress.reached
        now = self._now()
        self._seen.append((now, reached))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (reached - before) / (now - since) if reached > before and now > since else None
        if rate is None:
            rate = sum(each.pairs_per_second or 0.0 for each in found.at_work) or None
        return Pace(progress.total, reached, progress.failed, progress.skipped, rate)
