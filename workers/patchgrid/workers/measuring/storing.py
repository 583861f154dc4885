"""Storing measured chunks while the next one is measured.

At most one chunk is being stored. Its attempt no longer counts (`leases.note_computed`), so a crash counts
against the chunk being measured.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Self

from sqlalchemy.orm import Session

from patchgrid.core.errors import PatchgridError
from patchgrid.core.types import Pair
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.measuring.attempt import Computed

_log = logging.getLogger(__name__)


class Storing:
    """Stores chunks in turn; the rest is stored when the `with` block ends.

    Parameters
    ----------
    store
        Stores a chunk, in its own thread; returns whether it was completed.
    """

    def __init__(self, store: Callable[[Computed], bool]) -> None:
        self._store = store
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="patchgrid-storing")
        self._ready: Computed | None = None
        self._on_its_way: Future[bool] | None = None
        #: Chunks completed, successfully or not.
        self.worked = 0
        #: Someone waits until nothing is being stored.
        self.awaited = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self.finish()
        except Exception as also:
            if error is None:
                raise
            expected = isinstance(also, PatchgridError)
            _log.error("cannot store a chunk: %s", also, exc_info=not expected)
        finally:
            self._executor.shutdown()

    @property
    def ready(self) -> Lease | None:
        """The lease of the measured chunk that is not being stored yet."""
        return None if self._ready is None else self._ready.lease

    @property
    def pending(self) -> int:
        """Measured chunks that are not known to be stored."""
        return (self._ready is not None) + (self._on_its_way is not None)

    def claim(
        self, session: Session, worker: str, lease_seconds: float, **which: Any
    ) -> tuple[bool, tuple[Lease, list[Pair]] | None]:
        """Claim a chunk; tell, too, whether the one that is ready is still this worker's.

        In one transaction: a crash while measuring the new chunk then never counts against the stored one.
        `which` is as for `leases.claim`.
        """
        ready = self.ready
        is_kept = ready is None or leases.note_computed(session, ready, lease_seconds)
        lease = leases.claim(session, worker, lease_seconds=lease_seconds, **which)
        return is_kept, None if lease is None else (lease, leases.chunk_pairs(session, lease))

    def keep(self, computed: Computed) -> None:
        """Keep a measured chunk, to be stored when the next one is claimed."""
        assert self._ready is None, "a chunk that is measured was not handed over"
        self._ready = computed

    def drop(self) -> None:
        """Drop the ready chunk: its lease was lost."""
        if self._ready is not None:
            self._ready.let_go()
        self._ready = None

    def hand_over(self) -> None:
        """Start storing the ready chunk, if any, once the previous one is stored."""
        self.settle()
        ready, self._ready = self._ready, None
        if ready is not None:
            self._on_its_way = self._executor.submit(self._store, ready)

    def settle(self) -> None:
        """Wait until nothing is being stored; raise what storing raised."""
        if self._on_its_way is None:
            return
        self.awaited = True
        try:
            wait([self._on_its_way])
        finally:
            self.awaited = False
        stored, self._on_its_way = self._on_its_way, None
        self.worked += stored.result()

    def finish(self) -> bool:
        """Store all measured chunks; return whether there were any."""
        pending = self.pending
        try:
            self.settle()
        finally:
            self.hand_over()
            self.settle()
        return pending > 0
