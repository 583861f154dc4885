"""Chunks that are measured, on their way into the database while the next is measured.

One at most is on its way. Its attempt counts no longer (`leases.note_computed`), so what takes the worker
down meanwhile is laid to the chunk that is measured.
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
    """Stores one chunk after the other; what is left when the `with` block ends is stored then.

    Parameters
    ----------
    store
        Stores a chunk, in a thread of its own; tells whether it was worked on to an end.
    """

    def __init__(self, store: Callable[[Computed], bool]) -> None:
        self._store = store
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="patchgrid-storing")
        self._ready: Computed | None = None
        self._on_its_way: Future[bool] | None = None
        #: Chunks that were worked on to an end, whether good or bad.
        self.worked = 0
        #: Someone waits until nothing is on its way.
        self.awaited = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            self.finish()
        except Exception as also:
            if error is None:
                raise
            known = isinstance(also, PatchgridError)
            _log.error("a chunk could not be stored: %s", also, exc_info=not known)
        finally:
            self._executor.shutdown()

    @property
    def ready(self) -> Lease | None:
        """The lease of the chunk that is measured and not on its way yet."""
        return None if self._ready is None else self._ready.lease

    @property
    def pending(self) -> int:
        """Chunks that are measured, and not known to be stored."""
        return (self._ready is not None) + (self._on_its_way is not None)

    def claim(
        self, session: Session, worker: str, lease_seconds: float, **which: Any
    ) -> tuple[bool, tuple[Lease, list[Pair]] | None]:
        """Claim a chunk; tell, too, whether the one that is ready is still this worker's.

        In one transaction: whatever ends this process while the one is measured, the other is known to be no
        part of it. `which` is as for `leases.claim`.
        """
        ready = self.ready
        kept = ready is None or leases.note_computed(session, ready, lease_seconds)
        lease = leases.claim(session, worker, lease_seconds=lease_seconds, **which)
        return kept, None if lease is None else (lease, leases.chunk_pairs(session, lease))

    def keep(self, computed: Computed) -> None:
        """Take a chunk that is measured, to be handed over when the next is claimed."""
        assert self._ready is None, "a chunk that is measured was not handed over"
        self._ready = computed

    def drop(self) -> None:
        """Forget the chunk that is ready: it is no longer this worker's."""
        if self._ready is not None:
            self._ready.let_go()
        self._ready = None

    def hand_over(self) -> None:
        """Begin to store the chunk that is ready, if there is one, once the one before it is stored."""
        self.settle()
        ready, self._ready = self._ready, None
        if ready is not None:
            self._on_its_way = self._executor.submit(self._store, ready)

    def settle(self) -> None:
        """Wait until nothing is on its way; raise what storing it raised."""
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
        """Store all that is measured; tell whether there was anything."""
        pending = self.pending
        try:
            self.settle()
        finally:
            self.hand_over()
            self.settle()
        return pending > 0
