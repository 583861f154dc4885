"""Edges of a model whose queries, keys and values cannot be seen: its attention is one reader."""

from collections.abc import Callable

import pytest

from patchgrid.core.errors import ComponentError
from patchgrid.engine import Component, Engine
from patchgrid.engine.model import loading
from reference.edges import EdgeReference
from support.engine.cases import ROUNDING, Case, assert_close

CaseOf = Callable[[str], Case]
PAIR = 4


@pytest.fixture(params=["gpt2", "gpt_neox", "gemma2"])
def case(request: pytest.FixtureRequest, case_of: CaseOf, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Return a family's case, its engine loaded as if no value passed the taps."""
    monkeypatch.setenv("PATCHGRID_CACHE", "none")  # what earlier loads found has the taps in it
    monkeypatch.setattr(loading, "install", lambda *_: None)
    tapped = case_of(request.param)
    made = Case(tapped.model, tapped.pairs, tapped.token_pairs)
    made.engine  # noqa: B018 (made on first use)
    return made


def test_attention_is_one_reader(case: Case) -> None:
    """Scores of every edge, along the path too, and all effects are the reference's."""
    graph = case.engine.layout.graph
    assert graph.readers[:2] == ("a0", "m0")
    reference = EdgeReference(case.references("denoise")[PAIR], graph)
    found = case.engine.attribute(case.pairs, sites=("edge",), method=("eap", "eap-ig"), steps=2)[PAIR]
    assert_close(found.scores["eap"]["edge"], reference.scores("logit_diff"), 1e-4, "eap")
    along = reference.scores("logit_diff", [1 / 4, 3 / 4])
    assert_close(found.scores["eap-ig"]["edge"], along, 1e-4, "eap-ig")
    components = [graph.component(number) for number in range(graph.count)]
    effects = case.engine.patch(case.pairs[PAIR:], components)[0]
    everywhere = range(len(case.token_pairs[PAIR].clean))
    expected = reference.effects(graph.names, "logit_diff", everywhere)
    assert_close(effects, expected, 1e-4, "effects")
    early = case.engine.patch([case.pairs[PAIR]], [graph.component(n, -2) for n in range(graph.count)])[0]
    at_one = reference.effects(graph.names, "logit_diff", [-2])
    assert_close(early, at_one, 1e-4, "effects at one position", floor=ROUNDING)


def test_queries_of_their_own_are_refused(case: Case) -> None:
    """The message says how the readers are named."""
    with pytest.raises(ComponentError, match=r"a1.h0<q> is not a reader: readers are a3, m3"):
        case.engine.patch(case.pairs, [Component.parse("input->a1.h0<q>")])
    assert isinstance(case.engine, Engine)


def test_a_gated_attention_is_one_reader(case_of: CaseOf) -> None:
    """AFMoE has a gate that reads the stream, too: queries, keys and values are not all."""
    graph = case_of("afmoe").engine.layout.graph
    assert graph.readers[:2] == ("a0", "m0")
    assert "q" in case_of("afmoe").engine.layout.sites
