"""Integrated gradients against plain hooks at few points, and against what they sum to at many."""

from collections.abc import Callable

import numpy as np
import pytest

from patchgrid.core.names import DIRECTIONS
from patchgrid.engine import Component
from patchgrid.engine.methods.ig import fractions
from reference.integrated import integrated
from support.engine.cases import Case, assert_close
from support.engine.models import FAMILIES

CaseOf = Callable[[str], Case]
#: Where a router chooses other experts on the way the metric jumps, and no gradient tells of that.
SMOOTH = tuple(family for family in FAMILIES if family != "mixtral")
SETTINGS = [("denoise", "logit_diff"), ("noise", "kl")]


def _left(family: str) -> float:
    """How much may be missing at 64 points; with ReLU, whose gradient jumps, it falls with their number."""
    return 0.02 if family == "opt" else 0.01


def test_points_are_the_middles_of_equal_parts() -> None:
    """Neither end of the path is one of them."""
    assert fractions(1) == [0.5]
    assert fractions(4) == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize(("direction", "metric"), SETTINGS)
@pytest.mark.parametrize("path", ["embedding", "site"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_plain_hooks(
    case_of: CaseOf, family: str, path: str, direction: str, metric: str
) -> None:
    """Every site, in either direction, pairs of differing lengths in one batch; kl at the clean run too."""
    case = case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=case.sites, method="ig", path=path, steps=2, direction=direction, metric=metric
    )
    references = case.references(direction)
    for index in (1, 2, 4):
        expected = integrated(references[index], metric, 2, path)
        for site, scores in expected.items():
            assert_close(results[index].scores["ig"][site], scores, 1e-4, f"pair {index}, {site}", 1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", [*SMOOTH, "demo_model"])
def test_the_embeddings_scores_sum_to_the_whole_difference(
    case_of: CaseOf, family: str, direction: str
) -> None:
    """Under 1 % is left at 64 points, and less than at 8: completeness."""
    case = case_of(family)
    errors = []
    for steps in (8, 64):
        results = case.engine.attribute(
            case.pairs, sites=("resid_pre",), method="ig", steps=steps, direction=direction
        )
        change = np.array([result.clean_metric - result.corrupted_metric for result in results])
        found = np.array([result.scores["ig"]["resid_pre"][0].sum() for result in results])
        errors.append(float(np.abs(found - (change if direction == "denoise" else -change)).max()))
    scale = float(np.abs(change).max())
    assert errors[1] < _left(family) * scale
    assert errors[1] < 0.5 * errors[0] + 1e-5


@pytest.mark.parametrize("family", [*SMOOTH, "demo_model"])
def test_a_layer_s_scores_sum_to_the_effect_of_all_of_it(case_of: CaseOf, family: str) -> None:
    """Along a site's own path, under 1 % of the largest effect is left at 64 points."""
    case = case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=case.sites, method="ig", path="site", steps=64, direction="noise"
    )
    for site in case.sites:
        wholes = [Component(site, layer) for layer in range(case.layers)]
        effects = case.engine.patch(case.pairs, wholes, direction="noise")
        found = np.array([result.scores["ig"][site].reshape(case.layers, -1).sum(1) for result in results])
        assert_close(found, effects, _left(family), site)


@pytest.mark.parametrize("path", ["embedding", "site"])
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma3_text", "phi", "opt"])
def test_scores_are_the_same_alone_and_in_any_batch(case_of: CaseOf, family: str, path: str) -> None:
    """However many points and pairs run together."""
    case = case_of(family)
    settings = {"sites": case.sites, "method": "ig", "path": path, "steps": 3}
    alone = [case.engine.attribute([pair], batch_tokens=1, **settings)[0] for pair in case.pairs]
    for budget in (20, 100_000):
        together = case.engine.attribute(case.pairs, batch_tokens=budget, **settings)
        for index, (found, expected) in enumerate(zip(together, alone, strict=True)):
            for site, scores in expected.scores["ig"].items():
                assert_close(found.scores["ig"][site], scores, 1e-5, f"{budget}, pair {index}, {site}", 1e-6)


@pytest.mark.parametrize("path", ["embedding", "site"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "phi", "gemma3_text"])
def test_methods_asked_for_together_give_what_each_gives_alone(
    case_of: CaseOf, family: str, path: str
) -> None:
    """Whatever comes first, and with components patched in the same call."""
    case = case_of(family)
    methods = ("atp", "relp", "ig")

    def chosen(places: list[int], _results: object) -> list[list[Component]]:
        return [[Component("z", 1, 2), Component("mlp_out", 0)] for _ in places]

    alone = {
        method: case.engine.attribute(
            case.pairs, sites=case.sites, method=method, path=path if method == "ig" else "embedding"
        )
        for method in methods
    }
    effects = case.engine.patch(case.pairs, [Component("z", 1, 2), Component("mlp_out", 0)])
    for order in (methods, methods[::-1]):
        together = case.engine.measure(case.pairs, chosen, sites=case.sites, method=order, path=path)
        for index, measured in enumerate(together):
            for method in methods:
                assert measured.result.clean_metric == alone[method][index].clean_metric
                for site, scores in alone[method][index].scores[method].items():
                    assert_close(
                        measured.result.scores[method][site], scores, 1e-6, f"{method}, {site}", 1e-6
                    )
            assert_close(measured.effects, effects[index], 1e-6, "effects", 1e-6)
