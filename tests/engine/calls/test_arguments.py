"""Wrong arguments of the engine, and how its objects show themselves."""

from collections.abc import Callable
from typing import Any

import pytest

from patchgrid.core.errors import ArgumentError
from patchgrid.engine import Component, Engine, Pair
from support.engine.cases import Case

CaseOf = Callable[[str], Case]

_WRONG: dict[str, tuple[Callable[[Engine, list[Pair]], Any], str]] = {
    "a text as pairs": (lambda engine, _: engine.attribute("x"), "pairs must be a list of Pair, not a str"),
    "a pair as pairs": (lambda engine, pairs: engine.attribute(pairs[0]), "list of Pair, not a Pair"),
    "no pairs": (lambda engine, _: engine.run(None), "not a NoneType"),
    "a dict as pair": (lambda engine, _: engine.means([{}], ["z"]), "item 0 is a dict"),
    "sites": (lambda engine, pairs: engine.attribute(pairs, sites=5), "a text or a list, not 5"),
    "a site": (lambda engine, pairs: engine.attribute(pairs, sites=[5]), "site must be a name, not 5"),
    "a method": (lambda engine, pairs: engine.attribute(pairs, method=[5]), "method must be a name, not 5"),
    "a query": (lambda engine, pairs: engine.attribute(pairs, "z"), r"query must be a Query, not 'z'"),
    "a batch size": (
        lambda engine, pairs: engine.attribute(pairs, batch_tokens="x"),
        "whole number, not 'x'",
    ),
    "means": (lambda engine, pairs: engine.attribute(pairs, source="mean", means=3), "not an int"),
    "a name as components": (lambda engine, pairs: engine.patch(pairs, "a0.h1"), r"a list: \['a0\.h1'\]"),
    "a component": (lambda engine, pairs: engine.patch(pairs, [5]), "such as 'a9.h6', not 5"),
    "a cell": (lambda engine, pairs: engine.patch_cells(pairs, ["a0.h1"]), "a cell is .*, not 'a0.h1'"),
    "a choice": (lambda engine, pairs: engine.measure(pairs, 3), "choose must be a function or None, not 3"),
    "choices": (lambda engine, pairs: engine.measure(pairs, lambda *_: ["a0.h1"]), "a list of components"),
    "a model": (lambda engine, _: type(engine).load(5), "name must be a hub id or a folder, not 5"),
}


@pytest.mark.parametrize("what", _WRONG)
def test_a_wrong_type_is_named_with_what_is_right(case_of: CaseOf, what: str) -> None:
    """As an error of ours that is a `TypeError` too."""
    call, message = _WRONG[what]
    case = case_of("gpt2")
    with pytest.raises(ArgumentError, match=message):
        call(case.engine, case.pairs)


def test_objects_show_themselves_in_one_short_line(case_of: CaseOf) -> None:
    """Without tensors and whole prompts."""
    engine, pairs = case_of("gpt2").engine, case_of("gpt2").pairs
    assert repr(engine).endswith(": gpt2, 3 layers, 4 heads, float32 on cpu>")
    long = Pair("When Mary and John went to the store, John gave a drink to", "b", " Mary", " John", "one")
    assert repr(long).startswith(
        "Pair(id='one', clean='When Mary and Joh...hn gave a drink to', corrupted='b'"
    )
    assert repr(Component("z", 1, head=2)) == "Component.parse('a1.h2')"
    results = engine.attribute(pairs, sites="z")
    shown = [results, results[0], engine.layout, engine.means(pairs, ["z"]), *engine.measure(pairs, None)]
    for line in map(repr, [*shown, long, engine]):
        assert "\n" not in line
        assert len(line) < 300
        assert "tensor" not in line
        assert "array" not in line
