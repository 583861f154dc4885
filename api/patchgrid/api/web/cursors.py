"""Cursors: the position in a list, opaque to clients."""

import base64
import binascii
import json
from collections.abc import Sequence

from patchgrid.api.web.problems import Problem

#: Longest cursor, in characters.
_LONGEST = 200
#: Largest number in one: the databases' integer limit.
_LARGEST = 2**31 - 1


def write(place: Sequence[int] | None) -> str | None:
    """Encode a position; None at the end of the list."""
    if place is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(list(place)).encode()).decode().rstrip("=")


def read(text: str | None, length: int) -> tuple[int, ...] | None:
    """Decode a position of a given number of integers; `Problem` if `write` did not make it."""
    if text is None:
        return None
    place = _decoded(text)
    if (
        type(place) is not list
        or len(place) != length
        or not all(type(number) is int and 0 <= number <= _LARGEST for number in place)
    ):
        field = {"field": "cursor", "detail": "not a cursor of this list: use `next` of the previous page"}
        raise Problem(422, "bad-value", f"cursor: {field['detail']}", errors=[field])
    return tuple(place)


def _decoded(text: str) -> object:
    if len(text) > _LONGEST or not text.isascii():
        return None
    try:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
