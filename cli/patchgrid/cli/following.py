"""Following a job that workers work off: what it looks like now, again and again until it ends."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.cli.errors import DONE, FAILED, SOME_FAILED
from patchgrid.cli.progress import Pace
from patchgrid.cli.screen import say
from patchgrid.cli.summary import ENDED
from patchgrid.storage import Database, jobs, leases, workers
from patchgrid.storage.errors import DatabaseLocked, DatabaseUnavailable
from patchgrid.storage.jobs import JobRecord, Progress
from patchgrid.storage.workers import LoadFailure, WorkerRecord

#: Seconds over which the speed is taken.
_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job at one moment."""

    job: JobRecord
    progress: Progress
    #: Workers that have a chunk of it now.
    at_work: tuple[WorkerRecord, ...]
    #: Number of living workers that serve its model.
    serving: int
    #: Why workers could not load its model.
    load_failures: tuple[LoadFailure, ...]

    @property
    def ended(self) -> bool:
        """Nothing will happen to it any more by itself."""
        return self.job.state in ENDED

    @property
    def exit_code(self) -> int:
        """0 done, 1 failed, cancelled or not ended, 3 done with some pairs failed."""
        if self.job.state != "done":
            return FAILED
        return SOME_FAILED if self.progress.failed else DONE


def look(session: Session, job_id: int) -> Snapshot:
    """Read how a job stands."""
    job = jobs.get(session, job_id)
    model = job.spec.model
    # A worker tells every few seconds what it is at; the lease says it at once.
    holders = leases.holders(session, job_id)
    living = [each for each in workers.list_workers(session) if not each.lost and each.state != "stopped"]
    return Snapshot(
        job=job,
        progress=jobs.progress(session, job_id),
        at_work=tuple(
            each
            for each in living
            if each.name in holders or (each.job_id == job_id and each.chunk_id is not None)
        ),
        serving=sum(model in each.models and each.state != "draining" for each in living),
        load_failures=tuple(workers.load_failures(session, model)),
    )


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
        reached = progress.done + progress.failed
        now = self._now()
        self._seen.append((now, reached))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (reached - before) / (now - since) if reached > before and now > since else None
        if rate is None:
            rate = sum(each.pairs_per_second or 0.0 for each in found.at_work) or None
        return Pace(progress.total, reached, progress.failed, rate)
