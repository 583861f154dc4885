"""A worker's jobs and models: each chunk's job, and its engine."""

import logging
from collections.abc import Callable

from sqlalchemy.orm import Session

from patchgrid.storage.chunks import provenance
from patchgrid.storage.errors import JobNotFound
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.errors import CannotLoadError, LeaseLostError, ModelChangedError
from patchgrid.workers.measuring.causes import is_device_broken, reason_of
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.models import Engine, Models
from patchgrid.workers.node.load_backoff import LoadBackoff
from patchgrid.workers.node.watchdog import Watchdog

_log = logging.getLogger(__name__)

#: Jobs kept in memory.
_KEPT = 64


class Serving:
    """Finds the job of a chunk and the engine of its model."""

    def __init__(
        self, waiting: Waiting, models: Models, load_backoff: LoadBackoff, watchdog: Watchdog, worker: str
    ) -> None:
        #: The loaded models.
        self.models = models
        self._waiting = waiting
        self._load_backoff = load_backoff
        self._watchdog = watchdog
        self._worker = worker
        self._jobs: dict[int, JobRecord] = {}
        #: (job, weights hash) pairs that were checked to match.
        self._checked: set[tuple[int, str]] = set()

    def job(self, lease: Lease) -> JobRecord:
        """Return a chunk's job, cached since its first chunk; raises `LeaseLostError` if it is gone."""
        if lease.job_id not in self._jobs:
            if len(self._jobs) >= _KEPT:
                self._jobs.clear()
                self._checked.clear()
            try:
                self._jobs[lease.job_id] = self._waiting.read(lambda session: jobs.get(session, lease.job_id))
            except JobNotFound:
                raise LeaseLostError from None
        return self._jobs[lease.job_id]

    def engine(self, job: JobRecord) -> Engine:
        """Return the engine of a job's model.

        A model that cannot be loaded, or whose weights changed since the job was started, is recorded in the
        database and enters backoff: `CannotLoadError`.
        """
        model = job.spec.model
        try:
            loaded = self.models.has(job.spec)
            engine = self.models.get(job.spec) if loaded else self._load(job)
            self._check_weights(job, engine)
        except ModelChangedError as error:
            raise self._failed(model, str(error)) from error
        return engine

    def _load(self, job: JobRecord) -> Engine:
        model = job.spec.model
        try:
            with self._watchdog.loading():
                engine = self.models.get(job.spec)
        except Exception as error:
            if is_device_broken(error):
                raise
            raise self._failed(model, f"cannot load {model}: {reason_of(error)}") from error
        if self._load_backoff.clear(model):
            self._report(lambda session: workers.clear_load_failure(session, self._worker, model))
        return engine

    def _failed(self, model: str, reason: str) -> CannotLoadError:
        seconds = self._load_backoff.fail(model)
        _log.error("%s; leaving its chunks to other workers for %.0f s", reason, seconds)
        self._report(lambda session: workers.note_load_failure(session, self._worker, model, reason))
        return CannotLoadError(reason)

    def _report(self, action: Callable[[Session], None]) -> None:
        self._waiting.write(action)

    def _check_weights(self, job: JobRecord, engine: Engine) -> None:
        """Refuse to mix the numbers of two models in one job."""
        mine = engine.provenance.weights_hash
        if (job.id, mine) in self._checked:
            return
        weights = self._waiting.read(lambda session: provenance.weights_hashes(session, job.id))
        if weights and mine not in weights:
            raise ModelChangedError(job.id, job.spec.model)
        if weights:
            self._checked.add((job.id, mine))
