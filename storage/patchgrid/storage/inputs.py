"""Pairs as rows of the table `pair`, and back."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from patchgrid.engine.types import Answer, Pair, TokenText
from patchgrid.storage._bulk import as_json


def pair_row(job_id: int, index: int, pair: Pair) -> tuple[Any, ...]:
    """Give the row that stores a pair, its columns in the table's order."""
    return (
        job_id,
        index,
        pair.id,
        pair.clean,
        pair.corrupted,
        as_json([_write_answer(answer) for answer in pair.correct]),
        as_json([_write_answer(answer) for answer in pair.incorrect]),
        as_json(None if pair.spans is None else {name: list(span) for name, span in pair.spans.items()}),
    )


def read_pair(row: Row[Any]) -> Pair:
    """Give the pair that a row stores."""
    spans: Mapping[str, tuple[int, int]] | None = None
    if row.spans is not None:
        spans = {name: (start, stop) for name, (start, stop) in row.spans.items()}
    return Pair(
        clean=row.clean,
        corrupted=row.corrupted,
        correct=tuple(_read_answer(answer) for answer in row.correct),
        incorrect=tuple(_read_answer(answer) for answer in row.incorrect),
        id=row.name,
        spans=spans,
    )


def _write_answer(answer: Answer) -> int | str | dict[str, str]:
    return {"token": answer.text} if isinstance(answer, TokenText) else answer


def _read_answer(value: int | str | Mapping[str, str]) -> Answer:
    return TokenText(value["token"]) if isinstance(value, Mapping) else value
