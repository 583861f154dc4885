"""What becomes of a chunk that a worker has claimed: measured and committed, handed back, failed or lost."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from patchgrid.engine.types import Pair
from patchgrid.storage import leases
from patchgrid.storage.leases import Lease
from patchgrid.workers.attempt import Attempt
from patchgrid.workers.causes import is_device_broken, reason_of
from patchgrid.workers.errors import (
    CannotLoadError,
    DeviceBrokenError,
    LeaseLostError,
    StopRequestedError,
)
from patchgrid.workers.heartbeat import Heartbeat
from patchgrid.workers.jobmeans import JobMeans
from patchgrid.workers.models import Engine
from patchgrid.workers.pilot import Pilots
from patchgrid.workers.serving import Serving
from patchgrid.workers.settings import WorkerSettings
from patchgrid.workers.tally import Tally
from patchgrid.workers.waiting import AWAY, Waiting

_log = logging.getLogger(__name__)

#: Seconds before a chunk whose attempt raised is tried again.
_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Handling:
    """What a worker needs to work chunks off."""

    heartbeat: Heartbeat
    waiting: Waiting
    serving: Serving
    settings: WorkerSettings
    tally: Tally
    #: Takes the share of a chunk that is done, after each batch; what it raises ends the attempt.
    on_share: Callable[[float], None]
    #: Takes the name of each point that is passed.
    on_point: Callable[[str], None]
    pilots: Pilots = field(default_factory=Pilots)
    means: JobMeans = field(default_factory=JobMeans)

    def work(self, lease: Lease, pairs: Sequence[Pair]) -> bool:
        """Work a chunk and its pairs off; True: it was worked on to an end, whether good or bad.

        `DeviceBrokenError` if this process can go on no more.
        """
        what = f"chunk {lease.chunk_id} of job {lease.job_id}"
        self.tally.begin(lease)
        _log.info("%s %s", "took over" if lease.takeover else "claimed", what)
        try:
            self.on_point("claimed")
            return self._attempt(lease, pairs, what)
        except LeaseLostError:
            self.tally.lease_losses += 1
            _log.warning("the lease of %s was lost: its results are dropped", what)
        except StopRequestedError:
            self._hand_back(lease, what)
        except CannotLoadError as error:
            self.tally.message = str(error)
            self._hand_back(lease, what)
        except AWAY as error:
            _log.warning("%s was not handed in, as the database stays away: %s", what, error)
        except Exception as error:  # noqa: BLE001 (whatever it is, the chunk is what it happened to)
            self._fail(lease, what, error)
            return True
        except BaseException:
            self._hand_back(lease, what)
            raise
        finally:
            self.tally.end()
        return False

    def _attempt(self, lease: Lease, pairs: Sequence[Pair], what: str) -> bool:
        began = time.monotonic()
        job = self.serving.job(lease)

        def engine() -> Engine:
            loaded = self.serving.engine(job)
            self.tally.message = None
            self.on_share(0.0)
            return loaded

        result = Attempt(
            heartbeat=self.heartbeat,
            waiting=self.waiting,
            engine=engine,
            job=job,
            lease=lease,
            pairs=pairs,
            batch_tokens=self.settings.batch_tokens,
            pilots=self.pilots,
            means=self.means,
            on_share=self.on_share,
            on_point=self.on_point,
        ).work()
        failed = self.tally.finish(result)
        took = time.monotonic() - began
        _log.info("finished %s in %.1f s: %d pairs, %d failed", what, took, len(result.outcomes), failed)
        return True

    def _hand_back(self, lease: Lease, what: str) -> None:
        try:
            self.waiting.write(lambda session: leases.release(session, lease))
        except AWAY as error:
            _log.warning("%s could not be handed back, its lease has to run out: %s", what, error)
        else:
            _log.info("handed %s back", what)

    def _fail(self, lease: Lease, what: str, error: Exception) -> None:
        reason = reason_of(error)
        _log.error("%s failed at attempt %d: %s", what, lease.attempts, reason, exc_info=error)
        try:
            self.waiting.write(lambda session: leases.fail(session, lease, reason, retry_in=_RETRY))
        except AWAY as away:
            _log.warning("%s could not be failed, its lease has to run out: %s", what, away)
        if is_device_broken(error):
            raise DeviceBrokenError(f"the device is lost to this process, which ends: {reason}") from error
