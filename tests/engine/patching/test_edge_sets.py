"""Sets of edges patched in one run, against plain hooks and against what they must be equal to."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from patchgrid.core.component_sets import EdgeSet
from patchgrid.core.errors import ArgumentError, ComponentError, SpecError
from patchgrid.engine import Component
from patchgrid.engine.model.shortcuts import Shortcuts
from reference.edge_sets import EdgeSetReference
from reference.sources import means, with_vectors, zeros
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import EVERY, FAMILIES, each

CaseOf = Callable[[str], Case]
#: Two pairs of the tiny models' cases: 17 and 7 tokens.
CHOSEN = (3, 4)


def chosen_case(case_of: CaseOf, family: str) -> Case:
    """Return a family's case; families without edges have none."""
    case = case_of(family)
    if "edge" not in case.engine.layout.sites:
        pytest.skip("the family has no edges")
    return case


def drawn_sets(case: Case, seed: int = 0) -> list[list[str]]:
    """Draw sets of few edges, of half of them, and of nearly all."""
    names, generator = case.engine.graph.names, np.random.default_rng(seed)
    sizes = [3, 8, len(names) // 2, len(names) - 3]
    return [[str(name) for name in generator.choice(names, int(size), replace=False)] for size in sizes]


def ending(case: Case, *, sender: str = "", reader: str = "") -> list[str]:
    """Return the edges from a sender, or those to a reader."""
    ends = [(name, *name.split("->")) for name in case.engine.graph.names]
    return [name for name, one, other in ends if sender in ("", one) and reader in ("", other)]


@pytest.mark.parametrize(("family", "direction"), each(["denoise", "noise"], ["denoise"]))
def test_effects_equal_the_reference(case_of: CaseOf, family: str, direction: str) -> None:
    """Grouped queries, parallel blocks, norms behind heads, attention that is one reader."""
    if family == "granitemoeshared":
        pytest.skip("the reference sees its MLP as the rest of the stream, where readers' changes are")
    case = chosen_case(case_of, family)
    sets = drawn_sets(case) if family in FAMILIES else drawn_sets(case)[1:3]
    index = CHOSEN[1]
    [found] = case.engine.patch_sets([case.pairs[index]], sets, direction=direction, metric="logprob")
    reference = EdgeSetReference(case.references(direction)[index], case.engine.graph)
    expected = reference.of_sets(sets, "logprob")
    assert_close(found, expected, 1e-4, family, floor=ROUNDING)
    assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("source", ["mean", "zero"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_a_mean_or_nothing_can_be_put_in(case_of: CaseOf, family: str, source: str) -> None:
    """At every position, also those before the prompts' first difference."""
    case = chosen_case(case_of, family)
    sets, index = drawn_sets(case, seed=1), CHOSEN[1]
    given = case.engine.means(case.pairs, ("edge",)) if source == "mean" else None
    [found] = case.engine.patch_sets([case.pairs[index]], sets, source=source, means=given)
    vectors = (means if source == "mean" else zeros)(case.model.model, case.token_pairs, "denoise")
    run = with_vectors(case.reference_of(case.token_pairs[index], "denoise"), vectors)
    expected = EdgeSetReference(run, case.engine.graph).of_sets(sets, "logit_diff")
    assert_close(found, expected, 1e-4, family, floor=ROUNDING)


@pytest.mark.parametrize("family", EVERY)
def test_sets_are_what_they_must_be_equal_to(case_of: CaseOf, family: str) -> None:
    """One edge; all of a sender; all of a reader; all edges; none."""
    case = chosen_case(case_of, family)
    engine, graph = case.engine, case.engine.graph
    pairs, top = [case.pairs[index] for index in CHOSEN], case.layers - 1
    drawn = np.random.default_rng(5).choice(graph.names, 12, replace=False)
    alone = engine.patch_sets(pairs, [[str(name)] for name in drawn])
    assert_close(alone, engine.patch(pairs, [str(name) for name in drawn]), 1e-5, family, floor=ROUNDING)
    nodes = [["a0.h1"], ["m0", "a1.h0"], [f"a{top}.h0", f"m{top}", "a0.h0"]]
    edges = [[edge for node in few for edge in ending(case, sender=node)] for few in nodes]
    found = engine.patch_sets(pairs, edges)
    assert_close(found, engine.patch_sets(pairs, nodes), 1e-4, family, floor=ROUNDING)
    readers = {f"m{top}": Component("mlp_out", top)}
    if graph.split:
        readers |= {f"a1.h0<{site}>": Component(site, 1, 0) for site in "qkv"}
    else:
        readers["a1"] = Component("attn_out", 1)
    found = engine.patch_sets(pairs, [ending(case, reader=reader) for reader in readers])
    assert_close(found, engine.patch(pairs, list(readers.values())), 1e-4, family, floor=ROUNDING)
    gaps = [result.clean_metric - result.corrupted_metric for result in engine.run(pairs)]
    found = engine.patch_sets(pairs, [list(graph.names), [], ending(case, reader="logits")])
    assert_close(found, np.array([gaps, [0.0, 0.0], gaps]).T, 1e-4, family, floor=ROUNDING)


@pytest.mark.parametrize("family", FAMILIES)
def test_computing_less_and_batching_change_nothing(case_of: CaseOf, family: str) -> None:
    """All shortcuts in one batch against none, few copies at a time; circuits against their complements."""
    case = chosen_case(case_of, family)
    sets = drawn_sets(case, seed=3)
    pairs = [pair for pair in case.pairs if len(pair.clean.split()) > 3]
    options: dict[str, Any] = {"direction": "noise", "metric": "logprob"}
    found = case.engine.patch_sets(pairs, sets, batch_tokens=2000, **options)
    plain = case.engine.with_shortcuts(Shortcuts.none())
    every = set(case.engine.graph.names)
    kept = [sorted(every - set(few)) for few in sets]
    others = plain.patch_sets(pairs, kept, keep_at="edge", batch_tokens=30, **options)
    assert_close(found, others, 1e-5, family, floor=ROUNDING)


@pytest.mark.parametrize(
    ("sets", "options", "error", "words"),
    [
        (
            [["a0.h0->m1", "a0.h0"]],
            {},
            ComponentError,
            "a0.h0 is not an edge: a set has either edges or none",
        ),
        ([["a0.h0->m1"], ["a0.h0"]], {}, ComponentError, "a0.h0 is not an edge"),
        ([["a0.h0->m1@-1"]], {}, ComponentError, "the edges of a set are patched at all positions"),
        ([["a9.h0->m1"]], {}, ComponentError, "the model has no edge a9.h0->m1: a9.h0 is not a sender"),
        (
            [["a0.h0->m1"]],
            {"keep_at": ("edge", "z")},
            ComponentError,
            "edges are kept at the site edge alone",
        ),
        ([["a0.h0->m1"], "m0"], {}, ArgumentError, "a set of edges must be a list of edges, not 'm0'"),
    ],
)
def test_what_cannot_be_patched_is_refused(
    case_of: CaseOf, sets: Sequence[Any], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """In one line that names it."""
    case = case_of("gpt2")
    with pytest.raises((error, SpecError), match=words.replace(".", r"\.")):
        case.engine.patch_sets(case.pairs[:2], sets, **options)


def test_a_set_of_another_model_s_edges_is_refused(case_of: CaseOf) -> None:
    """Its numbers would be other edges here."""
    other = EdgeSet.of(["input->m0"], case_of("llama").engine.graph)
    with pytest.raises(ComponentError, match=r"\{input->m0\} are edges of another model"):
        case_of("gpt2").engine.patch_sets(case_of("gpt2").pairs[:1], [other])
