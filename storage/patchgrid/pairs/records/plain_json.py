"""Answers and spans as JSON has them, and back: `{"token": text}`, `{"piece": text}`, `{"text": [2, 3]}`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from patchgrid.core.types import Answer, Pair, Span, TextSpan, TokenPiece, TokenText

PlainAnswer = int | str | dict[str, str]
PlainSpan = list[int] | dict[str, list[int]]


def plain(value: object) -> dict[str, Any]:
    """Return what JSON has for an answer or a span that it does not know."""
    if isinstance(value, TextSpan):
        return {"text": [value.start, value.stop]}
    if isinstance(value, TokenPiece):
        return {"piece": value.piece}
    assert isinstance(value, TokenText)
    return {"token": value.text}


def plain_answer(answer: Answer) -> PlainAnswer:
    """Return an answer as JSON has it."""
    return answer if isinstance(answer, int | str) else plain(answer)


def plain_spans(spans: Mapping[str, Span] | None) -> dict[str, PlainSpan] | None:
    """Return spans as JSON has them."""
    if spans is None:
        return None
    return {name: plain(span) if isinstance(span, TextSpan) else [*span] for name, span in spans.items()}


def read_answers(values: Iterable[PlainAnswer]) -> tuple[Answer, ...]:
    """Return the answers that were written."""
    return tuple(read_answer(value) if isinstance(value, dict) else value for value in values)


def read_answer(value: Mapping[str, str]) -> TokenText | TokenPiece:
    """Return the answer that an object stands for."""
    return TokenPiece(value["piece"]) if "piece" in value else TokenText(value["token"])


def read_spans(values: Mapping[str, PlainSpan] | None) -> dict[str, Span] | None:
    """Return the spans that were written."""
    if values is None:
        return None
    return {name: _read_span(value) for name, value in values.items()}


def plain_record(pair: Pair) -> dict[str, Any]:
    """Return a pair as a record of a pair file, fields that it lacks omitted."""
    fields: dict[str, Any] = {
        "id": pair.id,
        "clean": pair.clean,
        "corrupted": pair.corrupted,
        "correct": _one_or_more(pair.correct),
        "incorrect": _one_or_more(pair.incorrect),
        "spans": plain_spans(pair.spans),
        "group": pair.group,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _one_or_more(answers: Sequence[Answer]) -> PlainAnswer | list[PlainAnswer]:
    return plain_answer(answers[0]) if len(answers) == 1 else [plain_answer(answer) for answer in answers]


def _read_span(value: PlainSpan) -> Span:
    if isinstance(value, Mapping):
        return TextSpan(*value["text"])
    start, stop = value
    return start, stop
