"""Strict JSON for pair files: no NaN, no duplicate fields; every error is a `ValueError` with its place."""

import json

from patchgrid.core.text.messages import shown


class _RefusedError(ValueError):
    """Valid JSON that is refused."""


def parse(text: str) -> object:
    """Parse one JSON value and nothing after it; raises `ValueError` with the error and its place."""
    try:
        return _decoder.decode(text.rstrip(" \t\r\n"))
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON: {what_broke(error)} at column {error.colno}") from None
    except (RecursionError, ValueError) as error:
        raise _named(error) from None


def parse_at(text: str, start: int) -> tuple[object, int]:
    """Read the JSON value at `start`; return it and where it ends. A `JSONDecodeError` is passed on."""
    try:
        return _decoder.raw_decode(text, start)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        raise _named(error) from None


def what_broke(error: json.JSONDecodeError) -> str:
    """Describe a JSON error without its place."""
    return error.msg[:1].lower() + error.msg[1:].removesuffix(" at")


def _named(error: Exception) -> ValueError:
    if isinstance(error, _RefusedError):
        return error
    # The only other `ValueError` is Python's refusal of numbers with thousands of digits.
    return _RefusedError("nested too deeply" if isinstance(error, RecursionError) else "a number is too long")


def _no_twins(fields: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(fields)
    if len(record) < len(fields):
        names = [name for name, _ in fields]
        twin = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"field {shown(twin)} appears twice")
    return record


def _no_constant(name: str) -> object:
    raise _RefusedError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_no_twins, parse_constant=_no_constant)
