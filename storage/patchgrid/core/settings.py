"""A setting: one field of a dataclass with its help, limits and choices.

Command-line options, the HTTP schema, the page's form and the job key are made from these fields, so that a
setting is written once.
"""

import dataclasses
import functools
import operator
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, SupportsFloat, SupportsIndex

from patchgrid.core.errors import SpecError
from patchgrid.core.names import check_name

_NOTHING: Mapping[str, str] = MappingProxyType({})
_METADATA = "setting"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting's name, type, default and description."""

    #: Name in JSON, in Python calls and, with hyphens, on the command line.
    name: str
    #: `bool`, `int`, `float`, `str`, or `tuple` for several names.
    kind: type
    #: None may stand for: chosen by the model, its tokenizer or the method.
    optional: bool
    default: Any
    #: What it sets, as a phrase without a full stop.
    help: str
    #: Its name in a form.
    label: str
    #: Allowed names, each with what it means; empty: any value.
    choices: Mapping[str, str]
    #: Whether names beside `choices` are allowed: those of installed packages.
    open: bool
    #: Smallest and largest number.
    least: float | None
    most: float | None
    #: What the default means, where the value alone does not tell.
    default_words: str | None
    #: Methods that have it as an option, by name; empty: it belongs to the query or the job.
    methods: tuple[str, ...] = ()

    def checked(self, value: object) -> Any:
        """Return the value as this setting's type; `SpecError` for another type or out of range."""
        if value is None and self.optional:
            return None
        if self.kind is bool:
            return self._bool(value)
        if self.kind in (int, float):
            return self._in_range(self._number(value))
        if not isinstance(value, str):
            raise SpecError(f"{self.name} must be text, not {value!r}", self.name)
        if self.choices and not self.open:
            check_name(self.name, value, tuple(self.choices), self.name)
        return value

    def _bool(self, value: object) -> bool:
        if type(value).__name__ not in ("bool", "bool_"):
            raise SpecError(f"{self.name} must be true or false, not {value!r}", self.name)
        return bool(value)

    def _number(self, value: object) -> float:
        if type(value) is int and self.kind is int:
            return value
        if self.kind is int and isinstance(value, SupportsIndex) and not isinstance(value, bool):
            return operator.index(value)
        if self.kind is float and isinstance(value, SupportsFloat) and not isinstance(value, bool | str):
            return float(value) + 0.0  # -0.0 becomes 0.0: equal questions have equal keys
        what = "a whole number" if self.kind is int else "a number"
        raise SpecError(f"{self.name} must be {what}, not {value!r}", self.name)

    def _in_range(self, value: float) -> float:
        low = self.least is not None and not value >= self.least
        if low or (self.most is not None and not value <= self.most):
            raise SpecError(f"{self.name} must be {self.range_words}, not {value}", self.name)
        return value

    @property
    def words(self) -> str:
        """What it sets, its choices with their meanings, and the methods that it is an option of."""
        choices = [f"{name} ({words})" if words else name for name, words in self.choices.items()]
        text = f"{self.help}: {', '.join(choices)}" if choices else self.help
        return f"{text}. For {' and '.join(self.methods)}" if self.methods else text

    @property
    def range_words(self) -> str:
        """The range in words: `from 1 to 4096`."""
        if self.most is None:
            return f"at least {self.least}"
        return f"from {self.least} to {self.most if self.most < 2**62 else '2^63 - 1'}"


def setting(
    default: Any,
    help: str,  # noqa: A002 (what it is)
    *,
    label: str,
    name: str | None = None,
    choices: Mapping[str, str] = _NOTHING,
    open: bool = False,  # noqa: A002
    least: float | None = None,
    most: float | None = None,
    default_words: str | None = None,
) -> Any:
    """Make a dataclass field that is a setting; see `Setting` for the parameters."""
    described = {"help": help, "label": label, "choices": choices, "open": open, "least": least}
    described |= {"most": most, "default_words": default_words, "name": name}
    return dataclasses.field(default=default, metadata={_METADATA: MappingProxyType(described)})


def settings_of(owner: Any) -> tuple[Setting, ...]:
    """List the settings among a dataclass's fields, in order."""
    return _settings_of(owner)


@functools.cache
def _settings_of(owner: Any) -> tuple[Setting, ...]:
    hints = typing.get_type_hints(owner)
    found = []
    for field in dataclasses.fields(owner):
        described = field.metadata.get(_METADATA)
        if described is not None:
            kinds = typing.get_args(hints[field.name])
            optional = type(None) in kinds
            kind = next((each for each in kinds if each in (bool, int, float, str)), hints[field.name])
            kind = typing.get_origin(kind) or kind
            if typing.get_origin(hints[field.name]) is tuple:
                kind = tuple
            values = dict(described) | {"name": described["name"] or field.name}
            found.append(Setting(kind=kind, optional=optional, default=field.default, **values))
    return tuple(found)


def check_fields(instance: Any) -> None:
    """Check the settings of a frozen dataclass's instance that have one value, and set them to their type."""
    for each in settings_of(type(instance)):
        if each.kind is not tuple and not callable(getattr(instance, each.name)):
            object.__setattr__(instance, each.name, each.checked(getattr(instance, each.name)))
