"""A fingerprint of pairs in order, independent of the file format."""

import hashlib
import json

from patchgrid.core.types import Pair
from patchgrid.pairs.records.plain_json import plain

# Pairs encoded per call: a call's overhead is larger than encoding one pair.
_BATCH = 128


class Digest:
    """SHA-256 over the canonical JSON of each pair, followed by a comma."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting: list[tuple[object, ...]] = []

    def add(self, pair: Pair) -> None:
        """Add the next pair."""
        fields = (pair.id, pair.clean, pair.corrupted, pair.correct, pair.incorrect, pair.spans)
        self._waiting.append(fields if pair.group is None else (*fields, pair.group))
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
