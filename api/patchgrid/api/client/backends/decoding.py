"""From JSON back to the dataclasses it was written from, by their annotations."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

Kind = TypeVar("Kind")

_NONE = type(None)


def decode(kind: type[Kind], document: object) -> Kind:
    """Make a dataclass of a document that has its fields by name; others are ignored.

    Nested dataclasses, sequences, mappings and arrays (null is NaN) are decoded too; what is a dataclass
    already is taken as it is. A field that the document lacks has its default. Raises `TypeError` for a value
    of another type, `KeyError` for a missing field.
    """
    if isinstance(document, kind):
        return document
    if not isinstance(document, Mapping):
        raise TypeError(f"{kind.__name__} is not an object")
    values = {}
    for name, hint, required in _fields(kind):  # type: ignore[arg-type]
        if name in document:
            values[name] = _value(hint, document[name], name)
        elif required:
            raise KeyError(name)
    return kind(**values)


@cache
def _fields(kind: type) -> tuple[tuple[str, Any, bool], ...]:
    """Return a dataclass's fields, each with its type and whether it has no default."""
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    return tuple(
        (field.name, hints[field.name], field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(kind)
    )


def _value(hint: Any, value: Any, name: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, name)
    if origin is np.ndarray:
        return np.array(value, get_args(inner[1])[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _value(inner[1], each, name) for key, each in _checked(value, Mapping, name).items()}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        listed = _checked(value, Sequence, name)
        if origin is tuple and inner[1:] != (...,):
            return tuple(_value(each, one, name) for each, one in zip(inner, listed, strict=True))
        return tuple(_value(inner[0], each, name) for each in listed)
    if dataclasses.is_dataclass(hint):
        return decode(hint, value)  # type: ignore[arg-type]
    return _plain(hint, value, name)


def _one_of(kinds: Sequence[Any], value: Any, name: str) -> Any:
    """Decode a value by the first kind that takes it."""
    if value is None and _NONE in kinds:
        return None
    for kind in kinds:
        try:
            return _value(kind, value, name)
        except (TypeError, KeyError):
            continue
    raise TypeError(f"{name} is {type(value).__name__}")


def _plain(kind: type, value: Any, name: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is bool and kind is not bool:
        raise TypeError(f"{name} is bool")
    if isinstance(kind, type) and isinstance(value, str) and issubclass(kind, str):
        return kind(value)
    return _checked(value, kind, name)


def _checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind) or (kind is Sequence and isinstance(value, str)):
        raise TypeError(f"{name} is {type(value).__name__}")
    return value
