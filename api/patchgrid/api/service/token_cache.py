"""Tokens that were looked up a moment ago: one look serves all requests of that moment."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from patchgrid.storage.access.tokens import Token

#: Seconds that a token is taken for what it was, and as many more while one request looks anew: one that is
#: revoked is good for twice as long at most.
FRESH = 0.5
#: Tokens that are remembered.
_MOST = 1000


class KnownTokens:
    """What the database said of tokens within the last second, and whether there ever was one."""

    def __init__(self, database: Database, now: Callable[[], float] = time.monotonic) -> None:
        self._database, self._now = database, now
        self._found: OrderedDict[bytes, tuple[Token, float]] = OrderedDict()
        self._looking: set[bytes] = set()
        self._any = False

    def recall(self, text: str) -> Token | None:
        """Give a token that was found just now; None: look it up."""
        key = _hash(text)
        found, now = self._found.get(key), self._now()
        if found is None or now >= found[1] + FRESH:
            return None
        if now < found[1] or key in self._looking:
            return found[0]
        # The others need not wait for this one.
        self._looking.add(key)
        return None

    def find(self, text: str) -> Token | None:
        """Look a token up; None for one that is good for nothing."""
        key, until = _hash(text), self._now() + FRESH
        try:
            with self._database.read() as session:
                found = tokens.find(session, text)
        finally:
            self._looking.discard(key)
        if found is None:
            self._found.pop(key, None)
            return None
        self._found[key] = (found, until)
        while len(self._found) > _MOST:
            self._found.popitem(last=False)
        return found

    @property
    def any_recalled(self) -> bool:
        """Whether it is known that there was a token: then there is one for ever."""
        return self._any

    def any_made(self) -> bool:
        """Look whether there ever was a token."""
        if not self._any:
            with self._database.read() as session:
                self._any = tokens.any_made(session)
        return self._any


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
