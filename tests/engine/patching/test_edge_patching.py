"""Exact edge patching against plain hooks: what the reader reads is changed, and nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from patchgrid.core.errors import ComponentError, SpecError
from patchgrid.engine import Component
from patchgrid.engine.model.shortcuts import Shortcuts
from reference.edges import EdgeReference
from reference.patching import Reference
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import FAMILIES, each

CaseOf = Callable[[str], Case]
#: The pair whose prompts differ in several tokens, the last one included.
PAIR = 4


def some_edges(case: Case, count: int) -> list[str]:
    """Draw edges, and add those of the first and of the last layer that are special."""
    graph = case.engine.layout.graph
    drawn = np.random.default_rng(0).choice(graph.count, size=min(count, graph.count), replace=False)
    last = graph.n_layers - 1
    attention = [f"a{last}.h0<{what}>" for what in "qkv"] if graph.split else [f"a{last}"]
    special = [f"input->{reader}" for reader in attention] + [f"m0->m{last}", "input->logits"]
    special += [f"a{last}.h1->logits", f"m{last}->logits", f"input->{graph.readers[0]}", f"a0.h1->m{last}"]
    return list(dict.fromkeys([*special, *(graph.names[number] for number in drawn)]))


def expected(
    case: Case, names: Sequence[str], direction: str, metric: str, positions: Sequence[int] | None
) -> np.ndarray:
    """Return the reference's effects of one pair."""
    reference = EdgeReference(case.references(direction)[PAIR], case.engine.layout.graph)
    at = range(len(case.token_pairs[PAIR].clean)) if positions is None else positions
    return reference.effects(names, metric, at)


@pytest.mark.parametrize(
    ("family", "direction", "metric"),
    each([("denoise", "logit_diff"), ("noise", "logprob")], [("denoise", "logit_diff")]),
)
def test_effects_equal_the_reference(case_of: CaseOf, family: str, direction: str, metric: str) -> None:
    """At all positions at once, among pairs of other lengths."""
    case = case_of(family)
    names = some_edges(case, 60 if family in FAMILIES else 20)
    found = case.engine.patch(
        case.pairs, [Component.parse(name) for name in names], direction=direction, metric=metric
    )[PAIR]
    assert_close(found, expected(case, names, direction, metric, None), 1e-4, family)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2"])
def test_every_edge_of_a_model_has_the_reference_s_effect(case_of: CaseOf, family: str) -> None:
    """Grouped queries, attention and MLP in parallel, norms behind both."""
    case = case_of(family)
    graph = case.engine.layout.graph
    components = [graph.component(number) for number in range(graph.count)]
    [found] = case.engine.patch([case.pairs[PAIR]], components)
    assert_close(found, expected(case, graph.names, "denoise", "logit_diff", None), 1e-4, family)


@pytest.mark.parametrize("positions", [(-1,), (-2,), (0, -2, -1)])
@pytest.mark.parametrize("family", ["gpt2", "mistral", "olmo2", "phi", "opt"])
def test_an_edge_can_be_patched_at_positions(
    case_of: CaseOf, family: str, positions: tuple[int, ...]
) -> None:
    """One, or several together."""
    case = case_of(family)
    names = some_edges(case, 25)
    where = positions[0] if len(positions) == 1 else positions
    components = [replace(Component.parse(name), position=where) for name in names]
    [found] = case.engine.patch([case.pairs[PAIR]], components)
    assert_close(found, expected(case, names, "denoise", "logit_diff", positions), 1e-4, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_shortcuts_and_batches_change_no_effect(case_of: CaseOf, family: str) -> None:
    """All shortcuts on, in one batch, against none, few copies at a time."""
    case = case_of(family)
    components = [Component.parse(name) for name in some_edges(case, 12)]
    found = case.engine.patch(case.pairs, components, batch_tokens=2000)
    plain = case.engine.with_shortcuts(Shortcuts.none()).patch(case.pairs, components, batch_tokens=30)
    assert_close(found, plain, 1e-5, family, floor=ROUNDING)


@pytest.mark.parametrize("family", ["gpt2", "qwen3", "gemma3_text", "gpt_neox"])
def test_scores_are_what_effects_become_as_the_source_comes_near(case_of: CaseOf, family: str) -> None:
    """A small share of a sender's change, to and fro, has that share of the score as its effect."""
    case = case_of(family)
    graph = case.engine.layout.graph
    reference = Reference(case.model.double().model, case.token_pairs[PAIR], "denoise")
    edges, share = EdgeReference(reference, graph), 2.0**-7
    [result] = case.engine.attribute([case.pairs[PAIR]], sites=("edge",), method="eap", keep_positions=False)
    at = range(len(case.token_pairs[PAIR].clean))
    names = some_edges(case, 40)
    ahead, back = (edges.effects(names, "logit_diff", at, step) for step in (share, -share))
    slopes = (ahead - back) / (2 * share)
    scores = [result.scores["eap"]["edge"][graph.number_of(name)] for name in names]
    assert_close(scores, slopes, 2e-3, family)


def test_an_edge_the_model_lacks_is_refused(case_of: CaseOf) -> None:
    """With what is wrong about it, in one line."""
    case = case_of("llama")
    for name, reason in (
        ("a0.h4->logits", "a0.h4 is not a sender"),
        ("a0.h0->a1.h2<k>", r"a1.h2<k> is not a reader"),
        ("m1->a1.h0<q>", "m1 does not come before a1.h0<q>"),
    ):
        with pytest.raises(ComponentError, match=reason):
            case.engine.patch(case.pairs, [Component.parse(name)])
    with pytest.raises(SpecError, match="edge cannot be combined with z"):
        case.engine.patch(case.pairs, [Component.parse("input->m0"), Component("z", 0)])
