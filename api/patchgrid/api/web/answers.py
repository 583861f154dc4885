"""Answers made once and given many times: those about ended jobs, which change no more."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

#: Bytes of answers that are kept, with what they are kept by.
_ROOM = 64 * 2**20
#: Bytes that keeping an answer takes beside its body and its key's text.
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
        """What tells it from other answers to the same question: a weak tag, compressed or not."""
        return f'W/"{hashlib.sha256(self.body).hexdigest()[:32]}"'


class Answers:
    """The answers given last. Of several threads with the same question one makes the answer."""

    def __init__(self, room: int = _ROOM, now: Callable[[], float] = time.monotonic) -> None:
        self._room, self._used, self._now = room, 0, now
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Answer, float]] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Answer], *, seconds: float = float("inf")) -> Answer:
        """Give the answer of this key, made no longer ago than so many seconds."""
        with self._lock:
            found = self._find(key)
            if found is not None:
                return found
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                found = self._find(key)
            if found is None:
                try:
                    found = make()
                finally:
                    with self._lock:
                        self._making.pop(key, None)
                with self._lock:
                    self._keep(key, found, self._now() + seconds)
        return found

    def _find(self, key: Hashable) -> Answer | None:
        kept = self._kept.get(key)
        if kept is None or kept[1] < self._now():
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def _keep(self, key: Hashable, answer: Answer, until: float) -> None:
        size = _size(key, answer)
        if size > self._room:
            return
        before = self._kept.pop(key, None)
        self._used += size - (0 if before is None else _size(key, before[0]))
        self._kept[key] = (answer, until)
        while self._used > self._room:
            old, (oldest, _until) = self._kept.popitem(last=False)
            self._used -= _size(old, oldest)


def _size(key: Hashable, answer: Answer) -> int:
    """Give the bytes that an answer takes: clients choose keys, and may choose long ones."""
    return len(answer.body) + 2 * len(repr(key)) + _EACH
