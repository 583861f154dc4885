"""Uniqueness of pair names: ids, or row numbers for pairs without one."""

import re

from patchgrid.core.text.messages import shown

_ROW_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


class Ids:
    """Ids so far; memory grows by one id per pair, or one bit per pair without an id."""

    def __init__(self, unit: str = "line") -> None:
        self._unit = unit
        self._places: dict[str, int | None] = {}
        self._unnamed = bytearray()
        # Ids that equal the number of a later row.
        self._claimed: dict[int, int | None] = {}

    def add(self, row: int, place: int | None, name: str | None) -> str | None:
        """Add the id of `row` (from 0), met at line `place`; say what is wrong with it, if anything."""
        if name is None:
            return self._add_unnamed(row)
        if self._claimed:
            self._claimed.pop(row, None)
        first = self._places.setdefault(name, place)
        if first != place:
            return f"id {shown(name)} is already used on {self._unit} {first}"
        if _ROW_NUMBER.fullmatch(name):
            return self._add_number(row, place, int(name))
        return None

    def _add_unnamed(self, row: int) -> str | None:
        byte, bit = divmod(row, 8)
        if byte >= len(self._unnamed):
            self._unnamed.extend(bytes(byte + 1024 - len(self._unnamed)))
        self._unnamed[byte] |= 1 << bit
        if row in self._claimed:
            place = self._claimed.pop(row)
            return f"no id, and its row number {row} (from 0) is the id on {self._unit} {place}"
        return None

    def _add_number(self, row: int, place: int | None, number: int) -> str | None:
        if number > row:
            self._claimed[number] = place
        byte, bit = divmod(number, 8)
        if number < row and byte < len(self._unnamed) and self._unnamed[byte] & 1 << bit:
            return f"id '{number}' is the row number (from 0) of a pair without an id"
        return None
