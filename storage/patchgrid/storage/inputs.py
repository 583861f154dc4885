"""Pairs as rows of the table `pair`, and back."""

from collections.abc import Sequence
from typing import Any

from patchgrid.engine.types import Answer, Pair, TokenText
from patchgrid.pairs.answers import read_answers, write_token
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


def read_pair(row: Sequence[Any]) -> Pair:
    """Give the pair that a row of all columns stores."""
    _, _, name, clean, corrupted, correct, incorrect, spans = row
    return Pair(
        clean=clean,
        corrupted=corrupted,
        correct=read_answers(correct),
        incorrect=read_answers(incorrect),
        id=name,
        spans=None if spans is None else {span: (start, stop) for span, (start, stop) in spans.items()},
    )


def _write_answer(answer: Answer) -> int | str | dict[str, str]:
    return write_token(answer) if isinstance(answer, TokenText) else answer
