"""Answers as JSON has them, `{"token": text}` for a vocabulary entry's own text, and back."""

from collections.abc import Iterable

from patchgrid.engine.types import Answer, TokenText


def write_token(answer: object) -> dict[str, str]:
    """Give what JSON has for an answer that it does not know."""
    assert isinstance(answer, TokenText)
    return {"token": answer.text}


def read_answers(values: Iterable[int | str | dict[str, str]]) -> tuple[Answer, ...]:
    """Give the answers that were written."""
    return tuple(TokenText(value["token"]) if isinstance(value, dict) else value for value in values)
