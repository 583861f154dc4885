"""A fingerprint of pairs in order, whatever file format they came from."""

import hashlib
import json

from patchgrid.core.types import Pair
from patchgrid.pairs.records.plain_json import plain

# Pairs encoded in one call: most of the time of a call for one pair is not the encoding.
_BATCH = 128


class Digest:
    """SHA-256 over the canonical JSON of each pair and a comma behind it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting: list[tuple[object, ...]] = []

    def add(self, pair: Pair) -> None:
        """Take the next pair in."""
        self._waiting.append((pair.id, pair.clean, pair.corrupted, pair.correct, pair.incorrect, pair.spans))
        if len(self._waiting) == _BATCH:
            self._take_in()

    @property
    def value(self) -> str:
        """The fingerprint of the pairs so far, in hexadecimal."""
        self._take_in()
        return self._hash.hexdigest()

    def _take_in(self) -> None:
        if self._waiting:
            array = _encode(self._waiting)
            self._hash.update(f"{array[1:-1]},".encode("ascii"))
            self._waiting.clear()


_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True, check_circular=False, default=plain).encode
