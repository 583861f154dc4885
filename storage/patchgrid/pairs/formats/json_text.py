"""A streaming JSON reader: value by value, with a bounded window in memory."""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO

from patchgrid.pairs.formats.lines import LIMIT
from patchgrid.pairs.records import jsonio

_SPACE = " \t\n\r"


class NotUtf8Error(ValueError):
    """A value with bytes that are not UTF-8."""


class Text:
    """A window on a file's text that always holds at least the longest entry."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._window = ""
        self._at = 0
        self._ended = False
        #: Number of the line at the reading position.
        self.line = 1

    def peek(self) -> str:
        """Skip white space and return the next character, or an empty string at the end."""
        while True:
            self._fill()
            start = self._at
            while self._at < len(self._window) and self._window[self._at] in _SPACE:
                self._at += 1
            self.line += self._window.count("\n", start, self._at)
            if self._at < len(self._window) or self._ended:
                return self._window[self._at : self._at + 1]

    def expect(self, characters: str) -> str:
        """Consume one of `characters` and return it; an empty string stands for the end."""
        character = self.peek()
        if character not in characters or (characters and not character):
            expected = " or ".join(repr(character) for character in characters) or "the end"
            raise ValueError(
                f"broken JSON: expected {expected}, not {repr(character) if character else 'the end'}"
            )
        self._at += len(character)
        return character

    def value(self) -> object:
        """Read one JSON value."""
        self.peek()
        try:
            value, end = jsonio.parse_at(self._window, self._at)
        except json.JSONDecodeError as error:
            if not self._ended and (error.msg.startswith("Unterm") or error.pos >= len(self._window) - 8):
                raise ValueError(f"an entry is longer than {LIMIT:,} characters") from None
            self.line += self._window.count("\n", self._at, error.pos)
            raise ValueError(f"broken JSON: {jsonio.what_broke(error)}") from None
        raw = self._window[self._at : end]
        self.line += raw.count("\n")
        self._at = end
        _refuse_undecoded(raw)
        return value

    def items(self) -> Iterator[tuple[int, object]]:
        """Yield each value of a list with the line it starts on; a `NotUtf8Error` replaces a bad value."""
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return
        while True:
            self.peek()
            line = self.line
            try:
                value = self.value()
            except NotUtf8Error as error:
                value = error
            yield line, value
            if self.expect(",]") == "]":
                return

    def _fill(self) -> None:
        if self._ended or len(self._window) - self._at >= LIMIT:
            return
        parts = [self._window[self._at :]]
        self._at = 0
        size = len(parts[0])
        while size < 2 * LIMIT and not self._ended:
            data = self._stream.read(LIMIT)
            self._ended = not data
            text = self._decode(data, self._ended)
            parts.append(text)
            size += len(text)
        self._window = "".join(parts)


def _refuse_undecoded(raw: str) -> None:
    try:
        raw.isascii() or raw.encode()
    except UnicodeEncodeError as error:
        byte = ord(raw[error.start]) - 0xDC00
        raise NotUtf8Error(f"not UTF-8: byte 0x{byte:02x}") from None
