"""What a caller may pass, and how the rest is refused."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from patchgrid.core.errors import ComponentError, PairError, SpecError
from patchgrid.engine import Component, Pair
from support.engine.cases import Case

CaseOf = Callable[[str], Case]


def test_numpy_numbers_and_lists_are_taken(case_of: CaseOf) -> None:
    """What comes out of an array can go into a component."""
    one = Component("z", np.int64(1), np.int32(2), position=np.int64(-1))  # type: ignore[arg-type]
    assert one == Component("z", 1, 2, position=-1)
    several = Component("mlp_out", 0, position=[0, 1])  # type: ignore[arg-type]
    case = case_of("gpt2")
    assert case.engine.patch(case.pairs[:1], [one, several]).shape == (1, 2)


@pytest.mark.parametrize(
    ("component", "name"),
    [
        (Component("z", 9, head=6), "a9.h6"),
        (Component("z", 9, 6, position=-1), "a9.h6@-1"),
        (Component("z", 9), "z9"),
        (Component("attn_out", 9), "a9"),
        (Component("k", 0, head=1, position=(0, -2)), "k0.h1@0,-2"),
        (Component("mlp_out", 5), "m5"),
        (Component("mlp_post", 5, neuron=1234), "n5.1234"),
        (Component("mlp_post", 5), "mlp_post5"),
        (Component("resid_post", 7, position=0), "resid_post7@0"),
    ],
)
def test_names_are_read_as_they_are_written(component: Component, name: str) -> None:
    """Of each site, with its index and positions; what is printed makes the same one again."""
    assert component.name == name
    assert Component.parse(name) == component
    assert repr(component) == f"Component.parse({name!r})"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot read component ''"),
        ("a9.h06", "cannot read component"),
        ("a9.6", "cannot read component"),
        ("m5.h1", "cannot read component"),
        ("x9", "write it as a9.h6"),
        ("a9.h6@", "position '' is not a whole number"),
        ("a9.h6@subject", "position 'subject' is not a whole number"),
        ("m5->", "cannot read edge 'm5->'"),
    ],
)
def test_a_name_of_nothing_is_refused(name: str, reason: str) -> None:
    """With how one is written."""
    with pytest.raises(ComponentError, match=reason):
        Component.parse(name)


def test_names_are_taken_for_components(case_of: CaseOf) -> None:
    """By every call that takes components."""
    case, names = case_of("gpt2"), ["a1.h2@-1", "n0.3"]
    parsed = [Component.parse(name) for name in names]
    expected = case.engine.patch(case.pairs[:1], parsed)
    assert (case.engine.patch(case.pairs[:1], names) == expected).all()
    cells, errors = case.engine.patch_cells(case.pairs[:1], [(0, name) for name in names])
    assert (cells == expected[0]).all()
    assert not errors
    sites = [each.site for each in parsed]
    [measured] = case.engine.measure(case.pairs[:1], lambda *_: [names], sites=sites)
    assert measured.components == tuple(parsed)
    assert measured.effects == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"site": "z", "layer": 1.0}, "layer 1.0 is not a whole number"),
        ({"site": "z", "layer": 1, "head": True}, "head True is not a whole number"),
        ({"site": "z", "layer": 1, "position": ()}, "no position given"),
        ({"site": "mlp_out", "layer": 1, "head": 0}, "'mlp_out' has no heads"),
        ({"site": "mlp_out", "layer": 1, "neuron": 0}, "'mlp_out' has no neurons"),
        ({"site": "mlp_out", "layer": 1, "index": 0}, "'mlp_out' has no index"),
        ({"site": "z", "layer": 1, "index": 0, "head": 1}, "both given"),
    ],
)
def test_a_component_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    """When it is made, not when it is measured."""
    with pytest.raises(ComponentError, match=reason):
        Component(**fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"clean": None}, "clean must be text, not None"),
        ({"correct": ()}, "no correct answer given"),
        ({"incorrect": 1.5}, "incorrect answer 1.5 is not a whole number"),
    ],
)
def test_a_pair_that_makes_no_sense_is_refused(fields: dict[str, Any], reason: str) -> None:
    """With the field and what is wrong with it."""
    with pytest.raises(PairError, match=reason):
        Pair(**({"clean": "a", "corrupted": "b", "correct": 1, "incorrect": 2} | fields))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stepps": 3}, "did you mean 'steps'"),
        ({"sites": ("mlp",)}, "did you mean 'mlp_out'"),
        ({"method": "attp"}, "did you mean 'atp'"),
        ({"metric": "logit_dif"}, "did you mean 'logit_diff'"),
        ({"direction": "noising"}, "did you mean 'noise'"),
        ({"batch_tokens": 0}, "at least 1, not 0"),
    ],
)
def test_a_wrong_option_is_refused_with_the_nearest_right_one(
    case_of: CaseOf, options: dict[str, Any], reason: str
) -> None:
    """Before anything runs."""
    case = case_of("gpt2")
    with pytest.raises(SpecError, match=reason):
        case.engine.attribute(case.pairs, **options)


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        (Component("z", 9), r"layer 9 is out of range \(0 to 2\)"),
        (Component("z", 0, 9), r"head 9 is out of range \(0 to 3 at z\)"),
        (Component("z", 0, position=99), "positions 0 to"),
    ],
)
def test_a_component_beyond_the_model_or_the_pair_is_refused(
    case_of: CaseOf, component: Component, reason: str
) -> None:
    """With what there is."""
    case = case_of("gpt2")
    with pytest.raises(ComponentError, match=reason):
        case.engine.patch(case.pairs, [component])


def test_a_cell_of_a_pair_that_is_not_there_is_refused(case_of: CaseOf) -> None:
    """Not answered with a number that is none."""
    case = case_of("gpt2")
    with pytest.raises(ComponentError, match="cell of pair 99"):
        case.engine.patch_cells(case.pairs[:2], [(99, Component("z", 0))])


def test_nothing_asked_is_nothing_answered(case_of: CaseOf) -> None:
    """Empty lists are no error."""
    engine, pairs = case_of("gpt2").engine, case_of("gpt2").pairs
    assert engine.attribute([]) == []
    assert engine.patch([], [Component("z", 0)]).shape == (0, 1)
    assert engine.patch(pairs[:2], []).shape == (2, 0)


def test_one_site_may_be_given_as_text(case_of: CaseOf) -> None:
    """It is not read letter by letter."""
    case = case_of("gpt2")
    assert set(case.engine.attribute(case.pairs[:1], sites="mlp_out")[0].scores["atp"]) == {"mlp_out"}


def test_calls_from_several_threads_and_under_inference_mode_give_the_same(case_of: CaseOf) -> None:
    """They wait for one another; the caller's mode does not matter."""
    case = case_of("gpt2")

    def scores() -> np.ndarray:
        return case.engine.attribute(case.pairs[:1], sites=["z"])[0].scores["atp"]["z"]

    expected, found = scores(), []
    threads = [threading.Thread(target=lambda: found.append(scores())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.inference_mode():
        found.append(scores())
    assert len(found) == 5
    for values in found:
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_batches_are_reported_and_may_end_the_call(case_of: CaseOf) -> None:
    """A runner that was asked to stop does so between two batches."""
    case = case_of("gpt2")
    counts: list[int] = []
    case.engine.attribute(case.pairs, batch_tokens=20, on_batch=counts.append)
    assert sum(counts) == len(case.pairs)
    assert len(counts) > 1

    def stop(_finished: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        case.engine.attribute(case.pairs, on_batch=stop)
    assert case.engine.attribute(case.pairs[:1])[0].error is None


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("atp", {}),
        (("atp", "relp", "ig"), {"steps": 4}),
        ("ig", {"steps": 4}),
        ("ig", {"steps": 4, "path": "site"}),
        ("atp*", {"grad_drop": True, "sites": ("q", "z")}),
        ("eap-ig", {"steps": 4, "sites": ("edge",)}),
    ],
)
def test_a_call_tells_of_each_pass_on_its_way(case_of: CaseOf, method: Any, options: dict[str, Any]) -> None:
    """A worker's watchdog takes a process for hung that does not: a pilot's batches are long."""
    case = case_of("llama")
    runs, gaps = 0, []

    def ran(*_: object) -> None:
        nonlocal runs
        runs += 1

    def tell(_finished: float) -> None:
        nonlocal runs
        gaps.append(runs)
        runs = 0

    handle = case.engine._model.envoy._module.register_forward_hook(ran)
    try:
        case.engine.attribute(case.pairs, method=method, on_batch=tell, batch_tokens=64, **options)
    finally:
        handle.remove()
    assert max(gaps) <= 3  # relp's rules are found and tried on its first use
    assert runs == 0
