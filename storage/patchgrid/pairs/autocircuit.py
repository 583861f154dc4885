"""auto-circuit's JSON: one object whose `prompts` list holds the pairs, read entry by entry."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from patchgrid.engine.types import Pair, TokenText
from patchgrid.pairs import jsonio
from patchgrid.pairs.errors import Problem, field_of
from patchgrid.pairs.lines import LIMIT
from patchgrid.pairs.reading import Note, Row
from patchgrid.pairs.records import Fields, make_reader
from patchgrid.pairs.wording import kind, shown, unknown

_FIELDS = Fields(
    clean="clean",
    corrupted="corrupt",
    correct="answers",
    incorrect="wrong_answers",
    id=None,
    spans=None,
    # auto-circuit tokenizes each answer by itself.
    text_answer=TokenText,
)
_read_record = make_reader(_FIELDS)
_KEYS = ("prompts", "seq_labels", "word_idxs")
_SPACE = " \t\n\r"


def read(path: Path, note: Note) -> Iterator[Row]:
    """Give each entry of `prompts` as a pair or its problems, numbered by the line it starts on."""
    with path.open("rb") as stream:
        text = _Text(stream)
        try:
            yield from _file(text, note)
        except ValueError as error:
            yield text.line, [str(error)]


def _file(text: "_Text", note: Note) -> Iterator[Row]:
    seen: set[str] = set()
    text.expect("{")
    while True:
        key = text.value()
        if not isinstance(key, str):
            raise ValueError(f"broken JSON: expected a field name, not {kind(key)}")  # noqa: TRY004 (bad input)
        if key in seen:
            raise ValueError(f"field {shown(key)} is given twice")
        seen.add(key)
        text.expect(":")
        if key == "prompts":
            yield from _entries(text)
        else:
            if problems := unknown([key], _KEYS):
                yield text.line, problems
            text.value()
        if text.expect(",}") == "}":
            break
    text.expect("")
    if "prompts" not in seen:
        yield None, ["no 'prompts' in it"]
    if unused := sorted(seen & {"seq_labels", "word_idxs"}):
        note(
            f"{' and '.join(unused)} of auto-circuit's format {'is' if len(unused) == 1 else 'are'} not used"
        )


def _entries(text: "_Text") -> Iterator[Row]:
    text.expect("[")
    if text.peek() == "]":
        text.expect("]")
        return
    number = 0
    while True:
        text.peek()
        line = text.line
        try:
            outcome = _pair(text.value())
        except _NotUtf8Error as error:
            outcome = [str(error)]
        if not isinstance(outcome, Pair):
            first = Problem(f"prompts[{number}]: {outcome[0]}", field_of(outcome[0]))
            outcome = [first, *outcome[1:]]
        yield line, outcome
        number += 1
        if text.expect(",]") == "]":
            return


def _pair(record: object) -> Pair | list[str]:
    if not isinstance(record, dict):
        return [f"must be a JSON object, not {kind(record)}"]
    return _read_record(record)


class _NotUtf8Error(ValueError):
    """A value that was read, with bytes in it that are not UTF-8."""


class _Text:
    """A file's text, of which a window is held that always reaches one longest entry ahead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._window = ""
        self._at = 0
        self._ended = False
        #: Number of the line at the reading position.
        self.line = 1

    def peek(self) -> str:
        """Skip white space and give the next character, or nothing at the end."""
        while True:
            self._fill()
            start = self._at
            while self._at < len(self._window) and self._window[self._at] in _SPACE:
                self._at += 1
            self.line += self._window.count("\n", start, self._at)
            if self._at < len(self._window) or self._ended:
                return self._window[self._at : self._at + 1]

    def expect(self, characters: str) -> str:
        """Step over one of `characters` and give it; nothing in them stands for the end."""
        found = self.peek()
        if found not in characters or (characters and not found):
            wanted = " or ".join(repr(character) for character in characters) or "the end"
            raise ValueError(f"broken JSON: expected {wanted}, not {repr(found) if found else 'the end'}")
        self._at += len(found)
        return found

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
        raise _NotUtf8Error(f"not UTF-8: byte 0x{byte:02x}") from None
