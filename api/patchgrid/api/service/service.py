"""What all requests of a server share."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from patchgrid.api.service.following import Followers
from patchgrid.api.service.limits import Rate, Slots
from patchgrid.api.service.settings import AllowedModel, ServerSettings
from patchgrid.api.service.token_cache import TokenCache
from patchgrid.api.web.answers import Answers
from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from patchgrid.storage.queue import workers

_log = logging.getLogger(__name__)

#: Seconds between two notes that a token was used.
_NOTED_EVERY = 60.0


class Service:
    """A database, the server's settings, and its running requests."""

    def __init__(self, database: Database, settings: ServerSettings) -> None:
        self.database = database
        self.settings = settings
        self.rate = Rate(settings.requests_per_second)
        # One token that reads slowly must not keep the others out.
        self.uploads, self.exports, self.streams = (
            Slots(count, what, -(-count // part))
            for count, what, part in (
                (settings.uploads, "uploads", 2),
                (settings.exports, "exports", 2),
                (settings.streams, "event streams", 4),
            )
        )
        self.tokens = TokenCache(database)
        self.answers = Answers()
        self.followers = Followers(database, settings.look_every)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="patchgrid-beside")
        self._noted: dict[int, float] = {}
        self._lock = threading.Lock()

    def models(self) -> dict[AllowedModel, int]:
        """Return the models that may be requested, with the number of workers serving each."""
        with self.database.read() as session:
            serving = workers.serving(session)
        allowed = self.settings.models or tuple(AllowedModel(model) for model in serving)
        return {each: serving.get(each.model, 0) for each in allowed}

    def notify(self, job_id: int) -> None:
        """Wake the workers for a job, in the background: an unavailable broker delays no response."""
        if self.settings.broker is not None:
            self._do_beside(self._ring, self.settings.broker, job_id)

    def count_messages(self, models: Iterable[str]) -> Mapping[str, int]:
        """Count the messages that wait on the queues of models; raises `BrokerUnavailable`."""
        if self.settings.broker is None:
            return {}
        from patchgrid.workers.broker.messages import count

        return count(self.settings.broker, models)

    def note_used(self, token_id: int) -> None:
        """Record a token's use at intervals, after the response."""
        now = time.monotonic()
        with self._lock:
            if now - self._noted.get(token_id, -_NOTED_EVERY) < _NOTED_EVERY:
                return
            self._noted[token_id] = now
        self._do_beside(self._note_used, token_id)

    def stop(self) -> None:
        """End streams that never end by themselves; running requests continue. Safe in signal handlers."""
        self.followers.stop()

    async def close(self) -> None:
        """End what is done beside the answers, once there are no more requests."""
        await self.followers.close()
        # What is under way holds a connection: the database must not be closed before it ends.
        await run_in_threadpool(self._beside.shutdown, cancel_futures=True)

    def _do_beside(self, work: Callable[..., None], *arguments: object) -> None:
        """Do something that nobody waits for, unless the server has ended."""
        with suppress(RuntimeError):
            self._beside.submit(work, *arguments)

    def _ring(self, broker: str, job_id: int) -> None:
        from patchgrid.workers.broker.messages import send_waiting

        try:
            send_waiting(self.database, broker, job_id)
        except PatchgridError as error:
            _log.warning("%s; workers find job %d at their next poll", error, job_id)

    def _note_used(self, token_id: int) -> None:
        try:
            tokens.note_used(self.database, token_id)
        except PatchgridError as error:
            _log.info("cannot record the use of token %d: %s", token_id, error)
