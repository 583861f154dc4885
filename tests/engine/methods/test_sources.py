"""The mean over prompts, or zero, put into the base run: against plain hooks, batched and alone."""

from collections.abc import Callable

import numpy as np
import pytest

from patchgrid.core.errors import SpecError
from patchgrid.core.means import Means
from patchgrid.core.names import DIRECTIONS
from patchgrid.engine import Component
from reference.integrated import integrated
from reference.patching import Reference
from reference.sources import means, with_vectors, zeros
from support.engine.cases import Case, assert_close
from support.engine.models import FAMILIES

CaseOf = Callable[[str], Case]
SETTINGS = [("mean", "denoise"), ("mean", "noise"), ("zero", "denoise"), ("zero", "noise")]
#: Pairs that are compared: of differing lengths, one of a single token.
CHOSEN = (1, 2, 4)


def references(case: Case, source: str, direction: str) -> list[Reference]:
    """Run the chosen pairs with plain hooks, the source's activations replaced by vectors."""
    make = means if source == "mean" else zeros
    vectors = make(case.model.model, case.token_pairs, direction)
    runs = [Reference(case.model.model, case.token_pairs[index], direction) for index in CHOSEN]
    return [with_vectors(run, vectors) for run in runs]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_means_are_over_all_tokens_of_all_source_prompts(
    case_of: CaseOf, family: str, direction: str
) -> None:
    """Padding counts nowhere, and batches change nothing."""
    case = case_of(family)
    expected = means(case.model.model, case.token_pairs, direction)
    for budget in (1, 100_000):
        found = case.engine.means(case.pairs, case.sites, direction=direction, batch_tokens=budget)
        for site in case.sites:
            assert found.vectors[site].dtype == np.float32
            rows = [expected[site, layer].flatten().numpy() for layer in range(case.layers)]
            assert_close(found.vectors[site], np.stack(rows), 1e-5, site)


@pytest.mark.parametrize(("source", "direction"), SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_plain_hooks(case_of: CaseOf, family: str, source: str, direction: str) -> None:
    """Every site and position, those before the prompts' first difference among them."""
    case = case_of(family)
    results = case.engine.attribute(case.pairs, sites=case.sites, source=source, direction=direction)
    plain = case.engine.attribute(case.pairs, sites=("z",), direction=direction)
    for index, reference in zip(CHOSEN, references(case, source, direction), strict=True):
        assert results[index].clean_metric == pytest.approx(plain[index].clean_metric, rel=1e-5, abs=5e-6)
        for site, scores in reference.scores("logit_diff").items():
            assert_close(results[index].scores["atp"][site], scores, 1e-4, f"pair {index}, {site}", 1e-6)


@pytest.mark.parametrize(("source", "direction"), SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_effects_equal_plain_hooks(case_of: CaseOf, family: str, source: str, direction: str) -> None:
    """Of whole components and of single positions, in the first block, the middle and the last."""
    case = case_of(family)
    components = [
        Component(site, layer, 1 if site == "z" else None, position=position)
        for site in case.sites
        for layer in range(case.layers)
        for position in (None, 0, -1)
    ]
    found = case.engine.patch(case.pairs, components, source=source, direction=direction)
    for index, reference in zip(CHOSEN, references(case, source, direction), strict=True):
        expected = reference.effects(components, ["logit_diff"])["logit_diff"]
        # To put zero in is a change far larger than another prompt, and rounds accordingly.
        assert_close(found[index], expected, 2e-4, f"pair {index}")


@pytest.mark.parametrize("path", ["embedding", "site"])
def test_integrated_gradients_go_to_the_mean(case_of: CaseOf, path: str) -> None:
    """What is put in is what the path leads to."""
    case = case_of("qwen2")
    results = case.engine.attribute(
        case.pairs, sites=case.sites, method=("ig", "relp"), source="mean", path=path, steps=2
    )
    for index, reference in zip(CHOSEN, references(case, "mean", "denoise"), strict=True):
        for site, scores in integrated(reference, "logit_diff", 2, path).items():
            assert_close(results[index].scores["ig"][site], scores, 1e-4, f"pair {index}, {site}", 1e-6)


@pytest.mark.parametrize("source", ["mean", "zero"])
@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma3_text", "phi", "opt"])
def test_a_batch_changes_nothing(case_of: CaseOf, family: str, source: str) -> None:
    """With the same means given, a pair's scores and effects are the same alone and among others."""
    case = case_of(family)
    given = case.engine.means(case.pairs, case.sites) if source == "mean" else None
    components = [Component("z", 1, 2), Component("mlp_out", 0, position=-1), Component("resid_pre", 1)]
    settings = {"source": source, "means": given}
    scores = case.engine.attribute(case.pairs, sites=case.sites, batch_tokens=100_000, **settings)
    effects = case.engine.patch(case.pairs, components, batch_tokens=100_000, **settings)
    for index, pair in enumerate(case.pairs):
        [alone] = case.engine.attribute([pair], sites=case.sites, **settings)
        for site, expected in alone.scores["atp"].items():
            assert_close(scores[index].scores["atp"][site], expected, 1e-5, f"pair {index}, {site}", 1e-6)
        assert_close(effects[index], case.engine.patch([pair], components, **settings)[0], 1e-5, "", 1e-6)


def test_means_that_do_not_fit_are_refused(case_of: CaseOf) -> None:
    """Of another site, of another model, for another source, of nothing."""
    engine, pairs = case_of("gpt2").engine, case_of("gpt2").pairs
    given = engine.means(pairs, ("z",))
    with pytest.raises(SpecError, match="no means given for site 'mlp_out'; available: resid_pre, z"):
        engine.attribute(pairs, sites=("mlp_out",), source="mean", means=given)
    with pytest.raises(SpecError, match="are of 2 layers, and the model has 3"):
        engine.attribute(
            pairs,
            sites=("z",),
            source="mean",
            means=Means({name: each[:2] for name, each in given.vectors.items()}),
        )
    with pytest.raises(SpecError, match="means need source 'mean', not 'zero'"):
        engine.patch(pairs, [Component("z", 0)], source="zero", means=given)
    with pytest.raises(SpecError, match="no pair could be measured"):
        engine.means([], ("z",))
