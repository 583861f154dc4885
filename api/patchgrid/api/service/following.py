"""Jobs followed live: each is read once per second, however many clients follow it."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database
from patchgrid.storage.errors import JobNotFound
from patchgrid.storage.output.documents import snapshot_json
from patchgrid.storage.queue.job_status import look

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as last read."""

    #: Distinguishes it from earlier snapshots.
    version: str
    document: dict[str, Any]
    #: The job has ended.
    ended: bool


@dataclass(slots=True)
class _Watched:
    """A job that is followed."""

    task: "asyncio.Task[None] | None" = None
    followers: int = 0
    seen: Seen | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Followers:
    """All followed jobs."""

    def __init__(self, database: Database, every: float) -> None:
        self._database, self._every = database, every
        self._watched: dict[int, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Whether the server is shutting down.
        self.stopping = False

    async def follow(
        self, job_id: int, version: str | None, alive: float = 15.0
    ) -> AsyncIterator[Seen | None]:
        """Yield the job now, unless it equals `version`, and at every change; None if nothing changed.

        Ends with the job, or the server.
        """
        watched = self._watched.setdefault(job_id, _Watched())
        watched.followers += 1
        if watched.task is None:
            watched.task = asyncio.create_task(self._watch(job_id, watched))
            self._tasks.add(watched.task)
            watched.task.add_done_callback(self._tasks.discard)
        quiet = 0.0
        try:
            while not self.stopping:
                if watched.seen is None or watched.seen.version == version:
                    if watched.seen is not None and watched.seen.ended:
                        yield watched.seen
                        return
                    if await _nothing_new(watched, version, 1.0):
                        quiet += 1.0
                        if quiet >= alive:
                            quiet = 0.0
                            yield None
                    continue
                seen = watched.seen
                version, quiet = seen.version, 0.0
                yield seen
                if seen.ended:
                    return
        finally:
            watched.followers -= 1
            if not watched.followers:
                self._forget(job_id, watched)

    def stop(self) -> None:
        """End all followers."""
        self.stopping = True

    async def close(self) -> None:
        """End all followers, and wait for them."""
        self.stop()
        await asyncio.gather(*self._tasks)

    async def _watch(self, job_id: int, watched: _Watched) -> None:
        """Read a job until it has ended or nobody follows it; a started read is never cancelled."""
        last_error = ""
        while watched.followers and not self.stopping:
            try:
                seen = await run_in_threadpool(self._look, job_id)
            except PatchgridError as error:
                if str(error) != last_error:
                    last_error = str(error)
                    _log.info("cannot read job %d: %s", job_id, last_error)
            except Exception:  # noqa: BLE001
                # Followers wait for this task: it continues after any error.
                _log.exception("cannot read job %d", job_id)
            else:
                last_error = ""
                if watched.seen is None or watched.seen.version != seen.version:
                    watched.seen = seen
                    async with watched.changed:
                        watched.changed.notify_all()
                if seen.ended:
                    # New followers start a new read: the job may be retried.
                    self._forget(job_id, watched)
                    return
            await asyncio.sleep(self._every)

    def _forget(self, job_id: int, watched: _Watched) -> None:
        if self._watched.get(job_id) is watched:
            del self._watched[job_id]

    def _look(self, job_id: int) -> Seen:
        try:
            with self._database.read() as session:
                snapshot = look(session, job_id)
        except JobNotFound:
            return _seen({"job": job_id, "state": "deleted"}, ended=True)
        return _seen(snapshot_json(snapshot) | {"serving": snapshot.serving}, ended=snapshot.ended)


async def _nothing_new(watched: _Watched, version: str | None, seconds: float) -> bool:
    """Wait for a change; return whether there was none."""
    try:
        async with asyncio.timeout(seconds), watched.changed:
            await watched.changed.wait_for(
                lambda: watched.seen is not None and (watched.seen.version != version or watched.seen.ended)
            )
    except TimeoutError:
        return True
    return False


def _seen(document: dict[str, Any], *, ended: bool) -> Seen:
    text = json.dumps(document, sort_keys=True)
    return Seen(hashlib.sha256(text.encode()).hexdigest()[:16], document, ended)
