"""Handling a claimed chunk: measured and committed, handed back, failed or lost."""

import logging
import time
from collections.abc import Callable, Sequence

from patchgrid.core.errors import SpecError
from patchgrid.core.types import Pair
from patchgrid.storage.errors import DatabaseGone
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.errors import (
    CannotLoadError,
    DeviceBrokenError,
    LeaseLostError,
    StopRequestedError,
)
from patchgrid.workers.measuring.attempt import Attempt, Computed
from patchgrid.workers.measuring.causes import is_device_broken, reason_of
from patchgrid.workers.measuring.db_retry import AWAY, Waiting
from patchgrid.workers.measuring.heartbeat import Heartbeat
from patchgrid.workers.measuring.job_means import JobMeans
from patchgrid.workers.measuring.models import Engine
from patchgrid.workers.measuring.pilot import Pilots
from patchgrid.workers.measuring.storing import Storing
from patchgrid.workers.node.serving import Serving
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.statistics import WorkerStatistics

_log = logging.getLogger(__name__)

#: Seconds before a failed chunk is retried.
_RETRY = 1.0


class Handling:
    """Processes chunks: this thread measures, another stores the previous chunk.

    Parameters
    ----------
    waiting, storing_waiting
        Retry the transactions of the measuring and of the storing thread.
    on_share
        Called with the completed share of a chunk after each batch; what it raises ends the attempt.
    on_point
        Called with the name of each point that is passed.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        waiting: Waiting,
        storing_waiting: Waiting,
        serving: Serving,
        settings: WorkerSettings,
        statistics: WorkerStatistics,
        on_share: Callable[[float], None],
        on_point: Callable[[str], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._waiting = waiting
        self._storing_waiting = storing_waiting
        self._serving = serving
        self._settings = settings
        self._statistics = statistics
        self._on_share = on_share
        self._on_point = on_point
        self._pilots, self._means = Pilots(), JobMeans()
        #: Measured chunks that are not stored yet.
        self.storing = Storing(self._store)

    def work(self, lease: Lease, pairs: Sequence[Pair]) -> bool:
        """Measure a chunk and its pairs while the previous one is stored; True if the attempt failed.

        It is stored while the next chunk is measured, or by `storing.finish`. A chunk with a failed attempt
        is measured and stored alone. Raises `DeviceBrokenError` if this process cannot continue.
        """
        self._statistics.begin(lease)
        _log.info("%s %s", "took over" if lease.takeover else "claimed", _name(lease))
        self._on_point("claimed")
        self.storing.hand_over()
        if lease.suspect:
            self.storing.settle()
        failed = self._measure(lease, pairs)
        if lease.suspect:
            self.storing.finish()
        return failed

    def drop(self) -> None:
        """Drop the chunk that was just measured: its lease was lost."""
        lease = self.storing.ready
        self.storing.drop()
        if lease is not None:
            self._lost(lease)
            self._statistics.end(lease)

    def _measure(self, lease: Lease, pairs: Sequence[Pair]) -> bool:
        try:
            self.storing.keep(self._attempt(lease, pairs))
        except LeaseLostError:
            self._lost(lease)
        except StopRequestedError:
            self._hand_back(lease)
        except CannotLoadError as error:
            self._statistics.message = str(error)
            self._hand_back(lease)
        except AWAY as error:
            _log.warning("%s was not stored, the database is unavailable: %s", _name(lease), error)
        except DatabaseGone:
            raise
        except Exception as error:  # whatever it is, it counts against the chunk
            self._fail(lease, error, self._waiting)
            if is_device_broken(error):
                reason = f"the device failed; exiting: {reason_of(error)}"
                raise DeviceBrokenError(reason) from error
            return True
        except BaseException:
            self._hand_back(lease)
            raise
        finally:
            if self.storing.ready is None:
                self._statistics.end(lease)
        return False

    def _attempt(self, lease: Lease, pairs: Sequence[Pair]) -> Computed:
        job = self._serving.job(lease)

        def engine() -> Engine:
            loaded = self._serving.engine(job)
            self._statistics.message = None
            self._on_share(0.0)
            return loaded

        return Attempt(
            heartbeat=self._heartbeat,
            waiting=self._waiting,
            engine=engine,
            job=job,
            lease=lease,
            pairs=pairs,
            batch_tokens=self._settings.batch_tokens,
            pilots=self._pilots,
            means=self._means,
            on_share=self._on_share,
            on_point=self._on_point,
        ).measure()

    def _store(self, computed: Computed) -> bool:
        """Commit a chunk; True if it was completed, successfully or not."""
        lease, name = computed.lease, _name(computed.lease)
        try:
            computed.store(self._storing_waiting, self._on_point)
        except LeaseLostError:
            self._lost(lease)
            return False
        except AWAY as error:
            _log.warning("%s was not stored, the database is unavailable: %s", name, error)
            return False
        except DatabaseGone:
            raise
        except Exception as error:  # noqa: BLE001 (here, too)
            self._fail(lease, error, self._storing_waiting)
            return True
        else:
            failed, pairs = self._statistics.finish(computed.result), len(computed.result.outcomes)
            took = time.monotonic() - computed.began
            _log.info("finished %s in %.1f s: %d pairs, %d failed", name, took, pairs, failed)
            return True
        finally:
            self._statistics.end(lease)

    def _lost(self, lease: Lease) -> None:
        self._statistics.lose()
        _log.warning("lost the lease of %s: its results are dropped", _name(lease))

    def _hand_back(self, lease: Lease) -> None:
        try:
            self._waiting.write(lambda session: leases.release(session, lease))
        except AWAY as error:
            _log.warning("cannot hand back %s, its lease must expire: %s", _name(lease), error)
        else:
            _log.info("handed %s back", _name(lease))

    def _fail(self, lease: Lease, error: Exception, waiting: Waiting) -> None:
        reason = reason_of(error)
        # A setting that the model does not support fails on every attempt.
        for_good = isinstance(error, SpecError)
        _log.error("%s failed (attempt %d): %s", _name(lease), lease.attempts, reason, exc_info=error)
        try:
            waiting.write(
                lambda session: leases.fail(session, lease, reason, retry_in=_RETRY, for_good=for_good)
            )
        except AWAY as away:
            _log.warning("cannot mark %s as failed, its lease must expire: %s", _name(lease), away)


def _name(lease: Lease) -> str:
    return f"chunk {lease.chunk_id} of job {lease.job_id}"
