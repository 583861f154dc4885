"""What becomes of a chunk that a worker has claimed: measured and committed, handed back, failed or lost."""

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
from patchgrid.workers.node.statistics import Tally

_log = logging.getLogger(__name__)

#: Seconds before a chunk whose attempt raised is tried again.
_RETRY = 1.0


class Handling:
    """Works chunks off: this thread measures, another stores what was measured before.

    Parameters
    ----------
    waiting, storing_waiting
        Repeat the transactions of the thread that measures and of the one that stores.
    on_share
        Takes the share of a chunk that is done, after each batch; what it raises ends the attempt.
    on_point
        Takes the name of each point that is passed.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        waiting: Waiting,
        storing_waiting: Waiting,
        serving: Serving,
        settings: WorkerSettings,
        tally: Tally,
        on_share: Callable[[float], None],
        on_point: Callable[[str], None],
    ) -> None:
        self._heartbeat = heartbeat
        self._waiting = waiting
        self._storing_waiting = storing_waiting
        self._serving = serving
        self._settings = settings
        self._tally = tally
        self._on_share = on_share
        self._on_point = on_point
        self._pilots, self._means = Pilots(), JobMeans()
        #: What is measured and not stored yet.
        self.storing = Storing(self._store)

    def work(self, lease: Lease, pairs: Sequence[Pair]) -> bool:
        """Measure a chunk and its pairs, while the one before is stored; True: the attempt failed.

        What is measured is stored beside the next chunk, or by `storing.finish`. A chunk that was tried
        before is measured and stored with nothing else going on. `DeviceBrokenError` if this process can go
        on no more.
        """
        self._tally.begin(lease)
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
        """Let go of the chunk that was just measured: its lease turned out to be lost."""
        lease = self.storing.ready
        self.storing.drop()
        if lease is not None:
            self._lost(lease)
            self._tally.end(lease)

    def _measure(self, lease: Lease, pairs: Sequence[Pair]) -> bool:
        try:
            self.storing.keep(self._attempt(lease, pairs))
        except LeaseLostError:
            self._lost(lease)
        except StopRequestedError:
            self._hand_back(lease)
        except CannotLoadError as error:
            self._tally.message = str(error)
            self._hand_back(lease)
        except AWAY as error:
            _log.warning("%s was not handed in, as the database stays away: %s", _name(lease), error)
        except DatabaseGone:
            raise
        except Exception as error:  # whatever it is, the chunk is what it happened to
            self._fail(lease, error, self._waiting)
            if is_device_broken(error):
                reason = f"the device is lost to this process, which ends: {reason_of(error)}"
                raise DeviceBrokenError(reason) from error
            return True
        except BaseException:
            self._hand_back(lease)
            raise
        finally:
            if self.storing.ready is None:
                self._tally.end(lease)
        return False

    def _attempt(self, lease: Lease, pairs: Sequence[Pair]) -> Computed:
        job = self._serving.job(lease)

        def engine() -> Engine:
            loaded = self._serving.engine(job)
            self._tally.message = None
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
        """Commit a chunk; True: it was worked on to an end, whether good or bad."""
        lease, name = computed.lease, _name(computed.lease)
        try:
            computed.store(self._storing_waiting, self._on_point)
        except LeaseLostError:
            self._lost(lease)
            return False
        except AWAY as error:
            _log.warning("%s was not handed in, as the database stays away: %s", name, error)
            return False
        except DatabaseGone:
            raise
        except Exception as error:  # noqa: BLE001 (here, too)
            self._fail(lease, error, self._storing_waiting)
            return True
        else:
            failed, pairs = self._tally.finish(computed.result), len(computed.result.outcomes)
            took = time.monotonic() - computed.began
            _log.info("finished %s in %.1f s: %d pairs, %d failed", name, took, pairs, failed)
            return True
        finally:
            self._tally.end(lease)

    def _lost(self, lease: Lease) -> None:
        self._tally.lose()
        _log.warning("the lease of %s was lost: its results are dropped", _name(lease))

    def _hand_back(self, lease: Lease) -> None:
        try:
            self._waiting.write(lambda session: leases.release(session, lease))
        except AWAY as error:
            _log.warning("%s could not be handed back, its lease has to run out: %s", _name(lease), error)
        else:
            _log.info("handed %s back", _name(lease))

    def _fail(self, lease: Lease, error: Exception, waiting: Waiting) -> None:
        reason = reason_of(error)
        # What the model cannot give it gives at no attempt.
        for_good = isinstance(error, SpecError)
        _log.error("%s failed at attempt %d: %s", _name(lease), lease.attempts, reason, exc_info=error)
        try:
            waiting.write(
                lambda session: leases.fail(session, lease, reason, retry_in=_RETRY, for_good=for_good)
            )
        except AWAY as away:
            _log.warning("%s could not be failed, its lease has to run out: %s", _name(lease), away)


def _name(lease: Lease) -> str:
    return f"chunk {lease.chunk_id} of job {lease.job_id}"
