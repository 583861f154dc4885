"""JSON documents: a list of records, or auto-circuit's object with a list `prompts`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from patchgrid.core.text.messages import kind, misspelt, shown
from patchgrid.pairs.errors import Problem, field_of
from patchgrid.pairs.formats.json_text import NotUtf8Error, Text
from patchgrid.pairs.records.layouts import AUTO_CIRCUIT
from patchgrid.pairs.records.reading import Findings, Records, Row

_KEYS = ("prompts", "seq_labels", "word_idxs")
_SPANS_NOTE = (
    "word_idxs and seq_labels became spans, counted from the first token of the text: they fit the tokenizer "
    "that the file was made for"
)


def read_list(path: Path, columns: Mapping[str, str], findings: Findings) -> Iterator[Row]:
    """Yield each record of a list as a pair or its problems, numbered by the line it starts on."""
    records = Records(columns, findings, table=False)
    with path.open("rb") as stream:
        text = Text(stream)
        try:
            yield from _entries(text, "", records, {})
            text.expect("")
        except ValueError as error:
            yield text.line, [str(error)]


def read_auto_circuit(path: Path, columns: Mapping[str, str], findings: Findings) -> Iterator[Row]:
    """Yield each entry of `prompts` as a pair or its problems, numbered by the line it starts on."""
    records = Records(columns, findings, table=False, layout=AUTO_CIRCUIT)
    with path.open("rb") as stream:
        text = Text(stream)
        try:
            yield from _file(text, records, findings)
        except ValueError as error:
            yield text.line, [str(error)]


def _file(text: Text, records: Records, findings: Findings) -> Iterator[Row]:
    places = _Places()
    seen: set[str] = set()
    text.expect("{")
    while True:
        key = text.value()
        if not isinstance(key, str):
            raise ValueError(f"broken JSON: expected a field name, not {kind(key)}")  # noqa: TRY004 (bad input)
        if key in seen:
            raise ValueError(f"field {shown(key)} appears twice")
        seen.add(key)
        text.expect(":")
        if key == "prompts":
            yield from _entries(text, "prompts", records, places.record(findings))
        else:
            yield from _other(text, key, seen, places, findings)
        if text.expect(",}") == "}":
            break
    text.expect("")
    if "prompts" not in seen:
        yield None, ["has no 'prompts'"]


def _other(text: Text, key: str, seen: set[str], places: "_Places", findings: Findings) -> Iterator[Row]:
    """Read keys other than the pairs: ignore unused ones, refuse misspelt ones."""
    line, value = text.line, text.value()
    right = misspelt(key, [name for name in _KEYS if name not in seen])
    if key in _KEYS and "prompts" in seen:
        findings.note(f"{key} comes after the prompts and is ignored: move it before them")
    elif key in _KEYS:
        if problem := places.take(key, value):
            yield line, [problem]
    elif right is None:
        findings.not_used([key])
    else:
        yield line, [f"unknown field {shown(key)} (did you mean {right!r}?)"]


def _entries(text: Text, name: str, records: Records, more: Mapping[str, object]) -> Iterator[Row]:
    for number, (line, value) in enumerate(text.items()):
        if isinstance(value, dict):
            outcome = records.read({**more, **value} if more else value)
        elif isinstance(value, NotUtf8Error):
            outcome = [str(value)]
        else:
            outcome = [f"must be a JSON object, not {kind(value)}"]
        if isinstance(outcome, list):
            first = type(outcome[0]) if isinstance(outcome[0], Problem) else Problem
            problem = first(f"{name}[{number}]: {outcome[0]}", field_of(outcome[0]))
            outcome = [problem, *outcome[1:]]
        if outcome is not None:
            yield line, outcome


@dataclass(slots=True)
class _Places:
    """auto-circuit's names of tokens, which are counted without a BOS."""

    words: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def take(self, key: str, value: object) -> str | None:
        """Read `word_idxs` or `seq_labels`; return its error, if any."""
        if key == "word_idxs":
            if not isinstance(value, dict) or not all(map(_is_place, value.values())):
                return "'word_idxs' must be an object of names with a token's number each"
            self.words = value
        else:
            if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
                return "'seq_labels' must be a list of texts, one a token"
            self.labels = tuple(value)
        return None

    def record(self, findings: Findings) -> dict[str, object]:
        """Return the fields that every pair gets from them."""
        spans = self._spans()
        if spans:
            findings.note(_SPANS_NOTE)
        return {"spans": spans} if spans else {}

    def _spans(self) -> dict[str, dict[str, list[int]]]:
        """Return each named token as a span; one without a name gets its label.

        A duplicate label gets its position appended.
        """
        spans = {name: place for name, place in self.words.items() if name}
        for place, label in enumerate(self.labels):
            if place not in spans.values():
                taken = not label.strip() or label in spans or self.labels.count(label) > 1
                spans[f"{label.strip()}@{place}" if taken else label] = place
        return {name: {"text": [place, place + 1]} for name, place in spans.items()}


def _is_place(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 20
