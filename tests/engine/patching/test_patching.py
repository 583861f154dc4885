"""Exact effects against the reference: one hooked forward pass a component."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from patchgrid.core.errors import ComponentError, PairError, PatchgridError
from patchgrid.core.names import DIRECTIONS, METRICS
from patchgrid.engine import Component
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import EVERY, FAMILIES, THOROUGH
from support.engine.shapes import FURTHER, HEADS

CaseOf = Callable[[str], Case]
#: Which of a case's pairs are patched with everything: 14, 1, 17 and 7 tokens in the tiny models' cases.
CHOSEN = (0, 2, 3, 4)
FEWER = (3, 4)


def everything(case: Case) -> list[Component]:
    """List every head and every layer at all positions, and each site at chosen positions."""
    layers, heads = case.layers, case.heads
    whole = [Component(site, layer) for site in case.sites for layer in range(layers)]
    each_head = [Component("z", layer, head) for layer in range(layers) for head in range(heads)]
    last = [Component(site, number % layers, position=-1) for number, site in enumerate(case.sites)]
    first = [Component(site, 1, position=0) for site in case.sites]
    head_at = [Component("z", 0, heads - 1, position=-1), Component("z", layers - 1, 0, position=(0, -1))]
    last_kv, top = case.engine.layout.n_kv_heads - 1, layers - 1
    inner = [
        Component(site, layer, head, position=position)
        for site, layer, head in itertools.product(("q", "k", "v"), (0, 1, top), {0, last_kv})
        for position in (None, -1)
        if site in case.sites
    ]
    neurons = [
        Component("mlp_post", layer, neuron=neuron, position=position)
        for layer, neuron, position in ((0, 3, None), (1, 0, -1), (top, 7, -1), (top, 23, None))
        if "mlp_post" in case.sites
    ]
    return [*whole, *each_head, *last, *first, *head_at, *inner, *neurons]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", [*EVERY, "demo_model"])
def test_effects_equal_the_reference(case_of: CaseOf, family: str, direction: str) -> None:
    """Every head and layer, all positions at once and chosen ones, mixed in one call."""
    case = case_of(family)
    chosen = FEWER if family in FURTHER else CHOSEN
    metrics = METRICS if family in (*THOROUGH, "demo_model") else tuple(METRICS)[:2]
    pairs, components = [case.pairs[index] for index in chosen], everything(case)
    expected = [case.references(direction)[index].effects(components, metrics) for index in chosen]
    for metric in metrics:
        found = case.engine.patch(pairs, components, direction=direction, metric=metric)
        assert found.dtype == np.float64
        assert found.shape == (len(pairs), len(components))
        for row, wanted in zip(found, expected, strict=True):
            # An effect under `kl` is a small difference of two divergences, each rounded.
            assert_close(row, wanted[metric], 1e-4, metric, ROUNDING if metric == "kl" else 0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_of_the_reference_reads_no_other(case_of: CaseOf, family: str) -> None:
    """Components patched side by side have the effects that each has alone."""
    case = case_of(family)
    reference, components = case.references("denoise")[4], everything(case)[::9]
    together = reference.effects(components, ["logit_diff"])["logit_diff"]
    alone = [reference.effects([component], ["logit_diff"])["logit_diff"][0] for component in components]
    assert_close(together, alone, 1e-5, family)


@pytest.mark.parametrize("family", EVERY)
def test_replacing_the_whole_stream_gives_the_source_run(case_of: CaseOf, family: str) -> None:
    """Patching all of the last `resid_post`, or of the first `resid_pre`, gives source minus base metric."""
    case = case_of(family)
    ends = [Component("resid_post", case.layers - 1), Component("resid_pre", 0)]
    for metric in tuple(METRICS)[:1] if family in FURTHER else METRICS:
        results = case.engine.attribute(case.pairs, metric=metric)
        gaps = np.array([result.clean_metric - result.corrupted_metric for result in results])
        for direction, sign in (("denoise", 1), ("noise", -1)):
            effects = case.engine.patch(case.pairs, ends, direction=direction, metric=metric)
            for column in effects.T:
                assert_close(column, sign * gaps, 1e-5, f"{direction}, {metric}")


def test_positions_are_the_pair_s_own(case_of: CaseOf) -> None:
    """Counting from the start and from the end name the same place in each pair, whatever the padding."""
    case = case_of("gpt2")
    for index, pair in enumerate(case.token_pairs):
        length = len(pair.clean)
        names = [
            Component("mlp_out", 1, position=position)
            for place in range(length)
            for position in (place, place - length)
        ]
        [effects] = case.engine.patch([case.pairs[index]], names)
        np.testing.assert_array_equal(effects[0::2], effects[1::2])
        expected = case.references("denoise")[index].effects(names[::2], ["logit_diff"])["logit_diff"]
        assert_close(effects[::2], expected, 1e-4, f"pair {index}")


def test_several_positions_are_patched_together(case_of: CaseOf) -> None:
    """A tuple of positions is one component, not a sum of single ones."""
    case = case_of("llama")
    pairs, references = case.pairs[3:5], case.references("denoise")[3:5]
    components = [
        Component("resid_mid", 1, position=(1, -1)),
        Component("resid_mid", 1, position=(-1, 1)),
        Component("z", 1, 2, position=(2, 3, -2)),
        Component("z", 2, position=(0, 1, 2, 3, 4, 5, 6, 7)),
    ]
    effects = case.engine.patch(pairs, components)
    for row, reference in zip(effects, references, strict=True):
        assert_close(
            row, reference.effects(components, ["logit_diff"])["logit_diff"], 1e-4, "several positions"
        )
    np.testing.assert_array_equal(effects[:, 0], effects[:, 1])


def test_all_heads_of_a_layer_are_its_attention(case_of: CaseOf) -> None:
    """Patching every head's output is patching what attention adds."""
    case = case_of("opt")
    heads, attention = case.engine.patch(case.pairs, [Component("z", 1), Component("attn_out", 1)]).T
    assert_close(heads, attention, 1e-4, "all heads")


def test_the_order_of_components_is_kept(case_of: CaseOf) -> None:
    """A shuffled list, with repeats, gives the same columns shuffled."""
    case = case_of("gemma2")
    components = everything(case)
    chosen = np.random.default_rng(0).integers(len(components), size=40)
    straight = case.engine.patch(case.pairs, components)
    shuffled = case.engine.patch(case.pairs, [components[index] for index in chosen])
    assert_close(shuffled, straight[:, chosen], 1e-5, "order")


def test_chosen_cells_equal_the_whole_table(case_of: CaseOf) -> None:
    """Cells of pairs and components picked at random have the effects of the full table."""
    case = case_of("qwen3")
    components = everything(case)
    table = case.engine.patch(case.pairs, components, direction="noise")
    drawn = np.random.default_rng(1)
    rows, columns = drawn.integers(len(case.pairs), size=30), drawn.integers(len(components), size=30)
    cells = [(int(row), components[column]) for row, column in zip(rows, columns, strict=True)]
    effects, errors = case.engine.patch_cells(case.pairs, cells, direction="noise")
    assert errors == {}
    assert_close(effects, table[rows, columns], 1e-5, "cells")


def test_components_may_be_numbered_by_numpy(case_of: CaseOf) -> None:
    """Indices drawn with numpy, as samples are, mean what plain ones mean."""
    case = case_of("gpt2")
    drawn = Component("z", np.int64(1), np.int64(2), position=np.int64(-1))  # type: ignore[arg-type]
    both = case.engine.patch(case.pairs, [drawn, Component("z", 1, 2, position=-1)])
    np.testing.assert_array_equal(both[:, 0], both[:, 1])


def test_nothing_to_patch_gives_an_empty_table(case_of: CaseOf) -> None:
    """No components, or no pairs, are no error."""
    case = case_of("gpt2")
    assert case.engine.patch(case.pairs, []).shape == (len(case.pairs), 0)
    assert case.engine.patch([], [Component("z", 0)]).shape == (0, 1)


@pytest.mark.parametrize(
    "component",
    [Component("z", 9), Component("z", -1), Component("z", 0, HEADS), Component("z", 0, -1)],
)
def test_a_component_the_model_lacks_is_refused(case_of: CaseOf, component: Component) -> None:
    """A layer or head out of range is named."""
    case = case_of("gpt2")
    with pytest.raises(ComponentError, match=r"layer|head"):
        case.engine.patch(case.pairs, [component])


@pytest.mark.parametrize("position", [14, -15, (0, 14)])
def test_a_position_the_pair_lacks_is_refused(case_of: CaseOf, position: int | tuple[int, ...]) -> None:
    """A position outside the pair's own tokens is an error, never a padded place."""
    case = case_of("gpt2")
    pairs = [case.pairs[0], case.pairs[3]]
    with pytest.raises((ComponentError, PairError), match="position"):
        case.engine.patch(pairs, [Component("mlp_out", 1, position=position)])


def test_a_pair_that_cannot_be_measured_stops_the_patching(case_of: CaseOf) -> None:
    """`patch` raises, naming the pair's reason, since its table has no place for it."""
    case = case_of("gpt2")
    broken = replace(case.pairs[0], corrupted="When Mary went")
    with pytest.raises(PairError, match=r"3|tokens|length"):
        case.engine.patch([case.pairs[1], broken], [Component("z", 0)])
    assert issubclass(PairError, PatchgridError)
