"""Cache of tokens: one lookup serves all requests of about a second."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from patchgrid.storage.access.tokens import Token

#: Seconds that an entry is valid, and as many more while one request refreshes it: a revoked token works for
#: at most twice as long.
FRESH = 0.5
#: Most cached tokens.
_MOST = 1000


class TokenCache:
    """Tokens read from the database within the last second, and whether any was ever made."""

    def __init__(self, database: Database, now: Callable[[], float] = time.monotonic) -> None:
        self._database, self._now = database, now
        self._entries: OrderedDict[bytes, tuple[Token, float]] = OrderedDict()
        self._looking: set[bytes] = set()
        self._any = False

    def recall(self, text: str) -> Token | None:
        """Return a cached token; None: look it up."""
        key = _hash(text)
        entry, now = self._entries.get(key), self._now()
        if entry is None or now >= entry[1] + FRESH:
            return None
        if now < entry[1] or key in self._looking:
            return entry[0]
        # Other requests use the cached entry in the meantime.
        self._looking.add(key)
        return None

    def find(self, text: str) -> Token | None:
        """Look up a token; None for one that is not valid."""
        key, until = _hash(text), self._now() + FRESH
        try:
            with self._database.read() as session:
                token = tokens.find(session, text)
        finally:
            self._looking.discard(key)
        if token is None:
            self._entries.pop(key, None)
            return None
        self._entries[key] = (token, until)
        while len(self._entries) > _MOST:
            self._entries.popitem(last=False)
        return token

    @property
    def any_recalled(self) -> bool:
        """Whether a token is known to exist: tokens are never deleted."""
        return self._any

    def any_made(self) -> bool:
        """Return whether any token was ever made."""
        if not self._any:
            with self._database.read() as session:
                self._any = tokens.any_made(session)
        return self._any


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
