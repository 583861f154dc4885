"""Cache of responses about ended jobs, which do not change."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

#: Most bytes of cached responses and their keys.
_ROOM = 64 * 2**20
#: Overhead of a cached response beside its body and key, in bytes.
_EACH = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's body."""

    body: bytes
    media_type: str = "application/json"
    #: Further headers.
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def etag(self) -> str:
        """Its entity tag; weak, so that it holds compressed or not."""
        return f'W/"{hashlib.sha256(self.body).hexdigest()[:32]}"'


class Answers:
    """The most recent responses. Of several threads with the same key, one computes the response."""

    def __init__(self, room: int = _ROOM, now: Callable[[], float] = time.monotonic) -> None:
        self._room, self._used, self._now = room, 0, now
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[Answer, float]] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Answer], *, seconds: float = float("inf")) -> Answer:
        """Return the answer of this key, made no longer ago than that many seconds."""
        with self._lock:
            answer = self._find(key)
            if answer is not None:
                return answer
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                answer = self._find(key)
            if answer is None:
                try:
                    answer = make()
                finally:
                    with self._lock:
                        self._making.pop(key, None)
                with self._lock:
                    self._keep(key, answer, self._now() + seconds)
        return answer

    def _find(self, key: Hashable) -> Answer | None:
        entry = self._entries.get(key)
        if entry is None or entry[1] < self._now():
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def _keep(self, key: Hashable, answer: Answer, until: float) -> None:
        size = _size(key, answer)
        if size > self._room:
            return
        before = self._entries.pop(key, None)
        self._used += size - (0 if before is None else _size(key, before[0]))
        self._entries[key] = (answer, until)
        while self._used > self._room:
            old, (oldest, _until) = self._entries.popitem(last=False)
            self._used -= _size(old, oldest)


def _size(key: Hashable, answer: Answer) -> int:
    """Return the size of a response and its key: clients may choose long keys."""
    return len(answer.body) + 2 * len(repr(key)) + _EACH
