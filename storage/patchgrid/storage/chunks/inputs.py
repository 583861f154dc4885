"""Pairs as rows of the table `pair`, and back."""

from collections.abc import Sequence
from typing import Any

from patchgrid.core.types import Answer, Pair
from patchgrid.pairs.records.plain_json import (
    plain_answer,
    plain_spans,
    read_answers,
    read_spans,
)
from patchgrid.storage.db.bulk import as_json, texts_as_json


def pair_row(job_id: int, index: int, pair: Pair, cluster: int | None = None) -> tuple[Any, ...]:
    """Return the row that stores a pair, its columns in the table's order; `cluster`: its group's number."""
    return (
        job_id,
        index,
        pair.id,
        pair.clean,
        pair.corrupted,
        _answers_as_json(pair.correct),
        _answers_as_json(pair.incorrect),
        as_json(plain_spans(pair.spans)),
        pair.group,
        cluster,
    )


def _answers_as_json(answers: Sequence[Answer]) -> str | None:
    texts = [answer for answer in answers if isinstance(answer, str)]
    if len(texts) == len(answers):
        return texts_as_json(texts)
    return as_json([plain_answer(answer) for answer in answers])


def read_pair(row: Sequence[Any]) -> Pair:
    """Return the pair that a row of all columns stores."""
    _, _, name, clean, corrupted, correct, incorrect, spans, group, cluster = row
    return Pair(
        clean=clean,
        corrupted=corrupted,
        correct=read_answers(correct),
        incorrect=read_answers(incorrect),
        id=name,
        spans=read_spans(spans),
        group=group,
        cluster=cluster,
    )
