"""JSON documents back to the dataclasses they were written from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchgrid.api.client.backends.decoding import decode
from patchgrid.api.client.backends.documents import read
from patchgrid.api.client.http.errors import NotPatchgrid
from patchgrid.core.plain import plain
from patchgrid.core.states import WorkerState
from patchgrid.storage.queue.workers import WorkerRecord


@dataclass(frozen=True)
class Inner:
    """A part of a document."""

    name: str
    share: float | None


@dataclass(frozen=True, eq=False)
class Outer:
    """A document with a field of every kind."""

    state: WorkerState
    count: int
    size: float
    flag: bool
    label: int | str
    pair: tuple[str, int]
    words: tuple[str, ...]
    inner: Sequence[Inner]
    by_name: Mapping[str, float]
    values: NDArray[np.float32]
    anything: Any
    left_out: int = 7


OUTER = Outer(
    WorkerState.IDLE,
    3,
    2.0,
    True,
    "end",
    ("a", 1),
    ("b", "c"),
    (Inner("x", None), Inner("y", 0.5)),
    {"z": 1.0},
    np.array([[1.0, np.nan]], np.float32),
    {"free": [1, None]},
)


def test_what_was_written_is_read_back() -> None:
    """With the types of the fields: tuples, enums, arrays with their number type, NaN for null."""
    document = json.loads(json.dumps(plain(OUTER) | {"new": "a later version's field"}))
    document.pop("left_out")
    found = decode(Outer, document)
    np.testing.assert_array_equal(found.values, OUTER.values)
    assert found.values.dtype == np.float32
    for name in ("state", "count", "size", "flag", "label", "pair", "words", "inner", "by_name", "anything"):
        assert getattr(found, name) == getattr(OUTER, name), name
        assert type(getattr(found, name)) is type(getattr(OUTER, name)), name
    assert found.left_out == 7
    assert decode(Outer, OUTER) is OUTER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", "3"),
        ("count", True),
        ("count", 3.5),
        ("size", None),
        ("flag", 1),
        ("label", None),
        ("state", "asleep"),
        ("words", "bc"),
        ("words", [1]),
        ("pair", ["a"]),
        ("inner", [{"name": "x"}]),
        ("by_name", []),
        ("values", [["a"]]),
    ],
)
def test_a_value_of_another_type_is_no_answer_of_this_version(name: str, value: object) -> None:
    """Rather than a number that is none."""
    with pytest.raises(NotPatchgrid, match="cannot read the server's answer about a Outer"):
        read(Outer, plain(OUTER) | {name: value})


def test_an_answer_that_is_no_object_or_lacks_a_field_is_refused() -> None:
    """By name."""
    for found in ([], None, "text", {"name": "node"}):
        with pytest.raises(NotPatchgrid, match="WorkerRecord"):
            read(WorkerRecord, found)
