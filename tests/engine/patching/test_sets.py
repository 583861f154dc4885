"""Sets of components patched in one run, against plain hooks that overwrite them one after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from patchgrid.core.component_sets import ComponentSet
from patchgrid.core.errors import ArgumentError, ComponentError, PairError, SpecError
from patchgrid.engine import Component
from patchgrid.engine.model.shortcuts import Shortcuts
from reference.sets import set_effects
from reference.sources import means, with_vectors, zeros
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import EVERY, FAMILIES, each

CaseOf = Callable[[str], Case]
#: Two pairs of the tiny models' cases: 17 and 7 tokens.
CHOSEN = (3, 4)


def drawn_sets(case: Case, count: int, seed: int = 0) -> list[list[Component]]:
    """Draw sets of 2 to 12 components, of all sites, layers, indices and positions."""
    generator = np.random.default_rng(seed)

    def one() -> Component:
        site = str(generator.choice(case.sites))
        size = case.engine.layout.count(site)
        index = None if size is None or generator.random() < 0.2 else int(generator.integers(size))
        position = [None, None, -1, -2, (0, -1), (2, -3)][int(generator.integers(6))]
        return Component(site, int(generator.integers(case.layers)), index, position)

    return [[one() for _ in range(int(generator.integers(2, 13)))] for _ in range(count)]


def special_sets(case: Case) -> list[list[Component]]:
    """Return sets whose parts overlap, follow each other closely, or lie where little has to run."""
    top = case.layers - 1
    sets = [
        [Component("z", 1, 0), Component("attn_out", 1)],
        [Component("z", 0), Component("mlp_out", 0), Component("z", 1), Component("mlp_out", 1)],
        [Component("mlp_out", 0), Component("resid_pre", 1, position=-1)],
        [Component("mlp_out", top), Component("z", top, 1)],
        [Component("mlp_out", top, position=0), Component("resid_post", top, position=0)],
        [Component("attn_out", layer) for layer in range(case.layers)],
        [Component("mlp_out", layer) for layer in range(case.layers)],
        [Component("z", top, 0), Component("z", top, 1, position=-1), Component("z", top, 1, position=-2)],
    ]
    if "q" in case.sites:
        sets += [
            [Component("q", 1, 0), Component("k", 1, 0), Component("v", 1, 0), Component("z", 1, 1)],
            [Component("k", top, 0), Component("v", 0, 0), Component("mlp_out", 1, position=-2)],
        ]
    if "resid_mid" in case.sites:
        sets += [[Component("attn_out", 1), Component("resid_mid", 1, position=-1), Component("mlp_out", 1)]]
    if "mlp_post" in case.sites:
        few = [Component("mlp_post", layer, neuron) for layer in range(case.layers) for neuron in (0, 3, 7)]
        sets += [few, [*few, Component("mlp_post", 1, 5, -1), Component("mlp_out", 1, position=-2)]]
    return sets


@pytest.mark.parametrize(
    ("family", "direction"), [*each(["denoise", "noise"], ["denoise"]), ("demo_model", "denoise")]
)
def test_effects_equal_the_reference(case_of: CaseOf, family: str, direction: str) -> None:
    """Random and special sets, all in one call: grouped queries, parallel blocks, norms behind, experts."""
    case = case_of(family)
    sets = [*special_sets(case), *drawn_sets(case, 40 if family in FAMILIES else 15)]
    pairs = [case.pairs[index] for index in CHOSEN]
    for metric in ("logit_diff", "logprob"):
        found = case.engine.patch_sets(pairs, sets, direction=direction, metric=metric)
        assert found.dtype == np.float64
        for row, index in zip(found, CHOSEN, strict=True):
            expected = set_effects(case.references(direction)[index], sets, metric)
            assert_close(row, expected, 1e-4, f"pair {index}, {metric}", floor=ROUNDING)
            assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("source", ["mean", "zero"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "gpt_neox", "gemma2"])
def test_a_mean_or_nothing_can_be_put_in(case_of: CaseOf, family: str, source: str) -> None:
    """At every position, also those before the prompts' first difference."""
    case = case_of(family)
    sets = [*special_sets(case), *drawn_sets(case, 25, seed=1)]
    pairs = [case.pairs[index] for index in CHOSEN]
    given = case.engine.means(case.pairs, case.sites) if source == "mean" else None
    found = case.engine.patch_sets(pairs, sets, source=source, means=given)
    vectors = (means if source == "mean" else zeros)(case.model.model, case.token_pairs, "denoise")
    for row, index in zip(found, CHOSEN, strict=True):
        reference = with_vectors(case.reference_of(case.token_pairs[index], "denoise"), vectors)
        expected = set_effects(reference, sets, "logit_diff")
        assert_close(row, expected, 1e-4, f"pair {index}", floor=ROUNDING)


@pytest.mark.parametrize("family", EVERY)
def test_a_set_of_one_is_its_component(case_of: CaseOf, family: str) -> None:
    """And all of the first stream, with whatever else, gives the source run."""
    case = case_of(family)
    components = [one for few in drawn_sets(case, 6, seed=2) for one in few]
    pairs = [case.pairs[index] for index in CHOSEN]
    alone = case.engine.patch_sets(pairs, [[component] for component in components])
    np.testing.assert_array_equal(alone, case.engine.patch(pairs, components))
    every = [Component(site, layer) for site in case.sites for layer in range(case.layers)]
    results = case.engine.run(pairs)
    gaps = [result.clean_metric - result.corrupted_metric for result in results]
    whole = case.engine.patch_sets(pairs, [[Component("resid_pre", 0)], every, [*every[1:], every[0]]])
    assert_close(whole, np.tile(gaps, (3, 1)).T, 1e-5, family)


@pytest.mark.parametrize("family", [*FAMILIES, "gpt_oss", "deepseek_v3", "granitemoeshared", "bloom"])
def test_computing_less_and_batching_change_nothing(case_of: CaseOf, family: str) -> None:
    """All shortcuts in one batch against none, few copies at a time; patterns among the sites."""
    case = case_of(family)
    sets = [*special_sets(case), *drawn_sets(case, 20, seed=3)]
    if "attn_pattern" in case.engine.layout.sites:
        sets += [[Component("attn_pattern", 1, 0), *few] for few in drawn_sets(case, 6, seed=4)]
    pairs = [pair for pair in case.pairs if len(pair.clean.split()) > 3]
    options: dict[str, Any] = {"direction": "noise", "metric": "logprob"}
    found = case.engine.patch_sets(pairs, sets, batch_tokens=2000, **options)
    plain = case.engine.with_shortcuts(Shortcuts.none()).patch_sets(pairs, sets, batch_tokens=30, **options)
    assert_close(found, plain, 1e-5, family, floor=ROUNDING)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "gpt_neox"])
def test_a_pattern_acts_on_the_values_of_its_own_run(case_of: CaseOf, family: str) -> None:
    """Queries and keys of the source give its pattern; with its values, what heads give in the source."""
    case = case_of(family)
    pairs, heads = [case.pairs[index] for index in CHOSEN], range(case.heads)
    layer = case.layers - 2
    inputs = [Component(site, layer) for site in ("q", "k")]
    early = [Component("mlp_out", 0, position=-1)]
    pattern = [Component("attn_pattern", layer, head) for head in heads]
    values = Component("v", layer)
    found = case.engine.patch_sets(
        pairs,
        [inputs, pattern, [*inputs, values], [*pattern, values], [*early, *inputs], [*early, *pattern]],
    )
    assert_close(found[:, 1::2], found[:, 0::2], 1e-5, family)
    assert np.abs(found[:, 0] - found[:, 2]).max() > 1e-4


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_a_set_can_be_what_is_kept(case_of: CaseOf, family: str) -> None:
    """All else at the named sites is replaced: nothing kept gives every component, all kept gives none."""
    case = case_of(family)
    sites = ("z", "mlp_out")
    heads = [Component("z", layer, head) for layer in range(case.layers) for head in range(case.heads)]
    every = [*heads, *(Component("mlp_out", layer) for layer in range(case.layers))]
    kept = [[], every, every[::3], [Component("z", 1), *every[-2:]]]
    rest = [every, [], [one for one in every if one not in every[::3]]]
    rest.append([one for one in every[:-2] if (one.site, one.layer) != ("z", 1)])
    found = case.engine.patch_sets(case.pairs, kept, keep_at=sites)
    assert_close(found, case.engine.patch_sets(case.pairs, rest), 1e-6, family)
    for wrong, words in (
        ([Component("q", 0)], "another site"),
        ([Component("z", 0, position=-1)], "position"),
    ):
        with pytest.raises(ComponentError, match=f"cannot be kept: it .*{words}"):
            case.engine.patch_sets(case.pairs, [wrong], keep_at=sites)


def test_an_empty_set_changes_nothing(case_of: CaseOf) -> None:
    """Alone, or beside others; no sets are no error."""
    case = case_of("gpt2")
    few = [Component("z", 1, 0), Component("mlp_out", 2)]
    found = case.engine.patch_sets(case.pairs, [[], few])
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] != 0).any()
    assert (case.engine.patch_sets(case.pairs, [[]]) == 0).all()
    assert case.engine.patch_sets(case.pairs, []).shape == (len(case.pairs), 0)


def test_sets_may_be_named_and_made_of_arrays(case_of: CaseOf) -> None:
    """By components, by their names, one twice, or by a site's indices; and as cells of single pairs."""
    case = case_of("llama")
    neurons = {0: np.arange(0, 20, 3), 2: [5, 1, 5]}
    made = ComponentSet.of_site("mlp_post", neurons)
    named = [f"n{layer}.{number}" for layer, numbers in neurons.items() for number in numbers]
    found = case.engine.patch_sets(case.pairs, [made, named, [*named, "n2.5", "a1.h0"]])
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    assert (found[:, 0] != found[:, 2]).any()
    assert len(made) == 9
    cells, errors = case.engine.patch_cells(case.pairs, [(2, made), (0, "n2.5"), (0, made)])
    assert_close(cells[[2, 0]], found[[0, 2], 0], 1e-5, "cells")
    assert errors == {}


@pytest.mark.parametrize(
    ("sets", "error", "words"),
    [
        ([["a0.h0", "a9.h0"]], ComponentError, "a9.h0: layer 9 is out of range"),
        (
            [ComponentSet.of_site("mlp_post", {0: [1, 9999]})],
            ComponentError,
            "n0.9999: neuron 9999 is out of",
        ),
        ([ComponentSet.of_site("mlp_post", {0: [-1, 3]})], ComponentError, "neuron -1 is out of range"),
        ([["z1@30"]], PairError, "z1@30: the pair has"),
        (["a0.h0"], ArgumentError, "a set must be a list of components, not 'a0.h0'"),
        ("a0.h0", ArgumentError, "sets must be a list of sets, not 'a0.h0'"),
        ([["m0", "attn_pattern1.h0"]], SpecError, "attn_pattern has no mean"),
    ],
)
def test_what_cannot_be_patched_is_refused(
    case_of: CaseOf, sets: Sequence[Any], error: type[Exception], words: str
) -> None:
    """In one line that names it."""
    case = case_of("gpt2")
    source = "mean" if error is SpecError else "pair"
    with pytest.raises((error, ComponentError), match=words.replace(".", r"\.")):
        case.engine.patch_sets(case.pairs[:2], sets, source=source)
