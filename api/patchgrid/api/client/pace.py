"""A job's progress and speed, run in this process or by workers."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchgrid.core.text.wording import counted, seconds
from patchgrid.storage.queue.job_status import Snapshot

if TYPE_CHECKING:
    from patchgrid.workers.progress import RunProgress

#: Seconds over which the speed of workers is taken.
_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Progress and speed."""

    total: int
    #: Pairs measured and failed, and the measured share of the running chunk.
    reached: float
    failed: int
    skipped: int
    #: Pairs a second in this run; None before the first.
    rate: float | None
    #: Later round that these are of; 0: the scores, or a job that has ended.
    round: int = 0

    @property
    def words(self) -> str:
        """Say it: `round 2: 128 of 300 pairs, 12.3 pairs/s, 14 s left, 2 failed`."""
        which = f"round {self.round}: " if self.round else ""
        return f"{which}{int(self.reached):,} of {counted(self.total, 'pair')}{self.details}"

    @property
    def details(self) -> str:
        """The part after the count."""
        parts = []
        if self.rate:
            parts.append(f"{self.rate:,.{2 if self.rate < 10 else 1}f} pairs/s")
            if self.reached < self.total:
                parts.append(f"{seconds((self.total - self.reached) / self.rate)} left")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.skipped:
            parts.append(f"{self.skipped:,} skipped")
        return "".join(f", {part}" for part in parts)


class Clock:
    """Turns counts into a pace, measured from where this run began."""

    def __init__(self, total: int, begun_at: float, now: Callable[[], float] = time.monotonic) -> None:
        self._total, self._begun_at, self._now = total, begun_at, now
        self._start, self._round = now(), None if begun_at else 0

    def pace(self, progress: "RunProgress") -> Pace:
        """Return the pace at this moment."""
        reached = progress.done + progress.failed + progress.skipped + progress.in_flight
        if progress.round != self._round:
            # Its first report may come with pairs already done, those without a cell to patch at once.
            if self._round is not None:
                self._begun_at, self._start = reached, self._now()
            self._round = progress.round
        gone = self._now() - self._start
        rate = (reached - self._begun_at) / gone if gone > 0 and reached > self._begun_at else None
        return Pace(self._total, reached, progress.failed, progress.skipped, rate, progress.round)


class Speed:
    """Measures a job's pace over the last minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, int]] = deque()
        self._round = 0

    def pace(self, snapshot: Snapshot) -> Pace:
        """Return the pace at this moment; before anything was seen to finish, by what its workers say."""
        progress = snapshot.progress
        reached = progress.reached
        now = self._now()
        if snapshot.job.rounds != self._round:
            self._round = snapshot.job.rounds
            self._seen.clear()
        self._seen.append((now, reached))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (reached - before) / (now - since) if reached > before and now > since else None
        if rate is None:
            rate = sum(each.pairs_per_second or 0.0 for each in snapshot.at_work) or None
        round_ = 0 if snapshot.ended else snapshot.job.rounds
        return Pace(progress.total, reached, progress.failed, progress.skipped, rate, round_)
