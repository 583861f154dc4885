"""A head's whole attention pattern, scored and patched, against a softmax that is watched and exchanged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from transformers.models.gemma2 import modeling_gemma2

from patchgrid.core.errors import SpecError
from patchgrid.engine import Component, Pair
from patchgrid.engine.model.shortcuts import Shortcuts
from reference.atpstar import eager
from reference.pattern import PatternReference
from support.engine.cases import ROUNDING, Case, assert_close, tokenize
from support.engine.models import FAMILIES

CaseOf = Callable[[str], Case]
SITE = "attn_pattern"
#: Sinks, latent and multi-query attention, two kinds of layers: what `FAMILIES` have not.
MORE = ("gpt_oss", "cohere2", "deepseek_v3", "gemma", "qwen3_moe")
#: By family, the wider of two steps of finite differences, and how far they may be off: of gpt2, which is
#: float64 throughout, the engine's own float32 rounding is left (2e-6). RMSNorm computes in float32 in any
#: model: its rounding, divided by the step, leaves 5e-5; wider steps leave more of the curvature.
STEPS = {"gpt2": (0.05, 1e-5), "mistral": (0.05, 1e-4), "gemma2": (0.1, 1e-4)}
#: The base run's clean prompt, which several pairs share, and what they are compared with.
_CLEAN, _OTHERS = "When Mary and John went to the shop, John gave", ("Anna", "Tom", "Mary")
SHARED = [Pair(_CLEAN, _CLEAN.replace(", John", f", {name}"), " to", " the") for name in _OTHERS]


@pytest.fixture(scope="session")
def eager_of(case_of: CaseOf) -> Callable[[str], Any]:
    """Return a family's model with eager attention."""
    made: dict[str, Any] = {}

    def get(family: str) -> Any:
        if family not in made:
            made[family] = eager(case_of(family).model.folder)
        return made[family]

    return get


def chosen(case: Case) -> list[Component]:
    """List every head, every layer whole, and some at single positions."""
    top, heads = case.layers - 1, case.heads
    whole = [Component(SITE, layer) for layer in range(case.layers)]
    each = [Component(SITE, layer, head=head) for layer in range(case.layers) for head in range(heads)]
    placed = [Component(SITE, 0, heads - 1, -1), Component(SITE, top, 1, (0, -1)), Component(SITE, top, 0, 0)]
    return [*whole, *each, *placed, Component(SITE, 0, position=-2)]


@pytest.mark.parametrize(("direction", "metric"), [("denoise", "logit_diff"), ("noise", "logprob")])
@pytest.mark.parametrize("family", [*FAMILIES, *MORE])
def test_scores_and_effects_equal_the_reference(
    case_of: CaseOf, eager_of: Callable[[str], Any], family: str, direction: str, metric: str
) -> None:
    """Pairs of differing lengths in one batch; grouped queries, sliding windows, caps and sinks."""
    case, model, components = case_of(family), eager_of(family), chosen(case_of(family))
    results = case.engine.attribute(case.pairs, sites=(SITE,), direction=direction, metric=metric)
    some = [pair for pair in range(len(case.pairs)) if len(case.token_pairs[pair].clean) > 1]
    effects = case.engine.patch(
        [case.pairs[pair] for pair in some], components, direction=direction, metric=metric
    )
    largest = 0.0
    for pair, row in zip(some, effects, strict=True):
        reference = PatternReference(model, case.token_pairs[pair], direction)
        expected = reference.scores(metric)
        assert_close(results[pair].scores["atp"][SITE], expected, 1e-4, f"scores of pair {pair}")
        wanted = reference.effects(components, metric)
        assert_close(row, wanted, 1e-4, f"effects in pair {pair}", 2 * ROUNDING)
        largest = max(largest, float(np.abs(wanted).max()))
    assert largest > 1e-3


@pytest.mark.parametrize("family", STEPS)
def test_scores_are_the_slope_of_the_effect(case_of: CaseOf, family: str) -> None:
    """Central differences in float64 of the metric as a head's pattern moves to the source's."""
    case, (step, tolerance) = case_of(family), STEPS[family]
    [result] = case.engine.attribute(case.pairs[:1], sites=(SITE,))
    reference = PatternReference(eager(case.model.folder).double(), case.token_pairs[0], "denoise")

    def central(layer: int, head: int, step: float) -> float:
        ahead, back = (
            reference.moved([Component(SITE, layer, head)], "logit_diff", sign * step)[0] for sign in (1, -1)
        )
        return float(ahead - back) / (2 * step)

    slopes = [
        [(4 * central(layer, head, step / 2) - central(layer, head, step)) / 3 for head in range(case.heads)]
        for layer in range(case.layers)
    ]
    assert_close(result.scores["atp"][SITE].sum(1), slopes, tolerance, family)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral"])
def test_a_pattern_of_zero_is_no_attention(
    case_of: CaseOf, eager_of: Callable[[str], Any], family: str
) -> None:
    """The source `zero` takes all weights away."""
    case, components = case_of(family), chosen(case_of(family))
    results = case.engine.attribute(case.pairs[:2], sites=(SITE,), source="zero")
    effects = case.engine.patch(case.pairs[:2], components, source="zero")
    for pair, row, result in zip(case.token_pairs, effects, results, strict=False):
        reference = PatternReference(eager_of(family), pair, "denoise")
        assert_close(result.scores["atp"][SITE], reference.scores("logit_diff", "zero"), 1e-4, "scores")
        wanted = reference.effects(components, "logit_diff", "zero")
        assert_close(row, wanted, 1e-4, "effects", 2 * ROUNDING)


@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "gpt_oss"])
def test_computing_less_and_batching_change_nothing(case_of: CaseOf, family: str) -> None:
    """All shortcuts against none, all pairs in one batch against each alone; other sites beside it."""
    case = case_of(family)
    sites, components = (SITE, "k", "z", "mlp_out"), [*chosen(case), Component("z", 1, 2)]
    plain = case.engine.with_shortcuts(Shortcuts.none())
    pairs = case.pairs * 2
    results = case.engine.attribute(pairs, sites=sites, batch_tokens=10_000)
    effects = case.engine.patch(pairs, [one for one in components if one.position is None])
    for index, pair in enumerate(pairs[: len(case.pairs)]):
        [alone] = plain.attribute([pair], sites=sites)
        for site in sites:
            assert_close(
                results[index].scores["atp"][site], alone.scores["atp"][site], 1e-5, f"{index}, {site}"
            )
        [row] = plain.patch([pair], [one for one in components if one.position is None])
        assert_close(effects[index], row, 1e-4, f"effects of {index}", 2 * ROUNDING)


def test_pairs_that_share_a_run_have_scores_of_their_own(
    case_of: CaseOf, eager_of: Callable[[str], Any]
) -> None:
    """One base run for three pairs, whose patterns come from three others."""
    case = case_of("llama")
    results = case.engine.attribute(SHARED, sites=(SITE,), direction="noise")
    effects = case.engine.patch(SHARED, chosen(case), direction="noise")
    for pair, result, row in zip(SHARED, results, effects, strict=True):
        reference = PatternReference(eager_of("llama"), tokenize(case.model, pair), "noise")
        assert_close(result.scores["atp"][SITE], reference.scores("logit_diff"), 1e-4, "scores")
        assert_close(row, reference.effects(chosen(case), "logit_diff"), 1e-4, "effects", 2 * ROUNDING)


@pytest.mark.parametrize("family", ["gpt2", "mistral"])
def test_the_path_of_a_site_sums_to_the_effect_of_its_layer(case_of: CaseOf, family: str) -> None:
    """Integrated gradients of all heads of a layer, moved together, by enough points."""
    case = case_of(family)
    pairs = case.pairs[:2]
    results = case.engine.attribute(pairs, sites=(SITE,), method="ig", path="site", steps=24)
    effects = case.engine.patch(pairs, [Component(SITE, layer) for layer in range(case.layers)])
    for result, row in zip(results, effects, strict=True):
        assert_close(result.scores["ig"][SITE].sum((1, 2)), row, 2e-2, family)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_every_method_of_nodes_scores_patterns(case_of: CaseOf, family: str) -> None:
    """A path of one site's own points, GradDrop and relevance go through the same weights as attribution."""
    case = case_of(family)
    methods = ("atp", "atp*", "ig", "relp")
    [result] = case.engine.attribute(case.pairs[:1], sites=(SITE, "z"), method=methods)
    assert_close(result.scores["atp*"][SITE], result.scores["atp"][SITE], 1e-5, "atp*")
    for method in methods[1:]:
        assert result.scores[method][SITE].shape == result.scores["atp"][SITE].shape
        assert np.abs(result.scores[method][SITE]).max() > 0
    [dropped] = case.engine.attribute(case.pairs[:1], sites=(SITE,), method="atp*", grad_drop=True)
    assert (dropped.scores["atp*"][SITE] >= 0).all()


def test_models_whose_attention_is_not_understood_are_refused(
    case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is in the way: no attention function that can be seen, or a softmax of another kind."""
    with pytest.raises(SpecError, match="no site 'attn_pattern': its attention does not go through"):
        case_of("bloom").engine.attribute(case_of("bloom").pairs, sites=(SITE,))
    gated = case_of("afmoe")
    with pytest.raises(SpecError, match="no site 'attn_pattern': layer 0 does not compute attention"):
        gated.engine.patch(gated.pairs, [Component(SITE, 0)])
    case, function = case_of("gemma2"), modeling_gemma2.eager_attention_forward

    def warmer(*args: Any, scaling: float, temperature: float = 2.0, **options: Any) -> Any:
        return function(*args, scaling=scaling / temperature, **options)

    monkeypatch.setattr(modeling_gemma2, "eager_attention_forward", warmer)
    engine = case.engine.with_shortcuts(case.engine.shortcuts)
    for measure in (
        lambda: engine.attribute(case.pairs, sites=(SITE,)),
        lambda: engine.patch(case.pairs, [Component(SITE, 0)]),
    ):
        with pytest.raises(SpecError, match="no site 'attn_pattern': layer 0 does not compute attention"):
            measure()
    assert SITE not in engine.layout.sites
    assert engine.attribute(case.pairs[:1], sites=("z",))[0].error is None


def test_patterns_have_no_mean(case_of: CaseOf) -> None:
    """Their rows are as long as their prompt."""
    case = case_of("gpt2")
    with pytest.raises(SpecError, match="attn_pattern has no mean") as refused:
        case.engine.attribute(case.pairs, sites=(SITE,), source="mean")
    assert refused.value.field == "source"
