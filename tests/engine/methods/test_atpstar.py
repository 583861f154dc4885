"""AtP* against brute force: one query or key at a time through the model's own softmax; layers cut off."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.gemma2 import modeling_gemma2

from patchgrid.core.errors import SpecError
from patchgrid.core.query import Query
from patchgrid.engine import Pair
from patchgrid.engine.checks.softmax_check import what_is_missing
from patchgrid.engine.methods import check_methods, qkfix
from patchgrid.engine.methods.qkfix import Attended
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.sites.attention import Pattern
from reference.atpstar import dropped_qk_scores, dropped_scores, eager, largest_gap, qk_scores, sharpen
from support.engine.cases import Case, assert_close, tokenize
from support.engine.models import FAMILIES, TestModel, save_model
from support.engine.prompts import PAIRS

CaseOf = Callable[[str], Case]
SharpCaseOf = Callable[[str], tuple[Case, Any]]
FIXED = ("q", "k")
#: How many times larger queries and keys are made: attention is then all but one-hot. More where a family's
#: are small, and no more than leaves float32 five digits of the logits.
SHARPER = {"opt_projected": 2.75}


@pytest.fixture(scope="session")
def sharp_case_of(tmp_path_factory: pytest.TempPathFactory) -> SharpCaseOf:
    """Return the case of a family whose attention is saturated, and its model with eager attention."""
    root = tmp_path_factory.mktemp("sharp")
    made: dict[str, tuple[Case, Any]] = {}

    def get(name: str) -> tuple[Case, Any]:
        if name not in made:
            saved = save_model(name, root)
            sharpen(saved.model, SHARPER.get(name, 2.5))
            saved.model.save_pretrained(saved.folder)
            model = TestModel(name, saved.folder, saved.model, saved.tokenizer)
            made[name] = Case(model, PAIRS, [tokenize(model, pair) for pair in PAIRS]), eager(saved.folder)
        return made[name]

    return get


#: The base run's clean prompt, which several pairs share, and what they are compared with.
_CLEAN, _OTHERS = "When Mary and John went to the shop, John gave", ("Anna", "Tom", "Mary")
SHARED = [Pair(_CLEAN, _CLEAN.replace(", John", f", {name}"), " to", " the") for name in _OTHERS]
ASKED = [("denoise", "logit_diff"), ("denoise", "kl"), ("noise", "logprob")]


@pytest.mark.parametrize(("direction", "metric"), ASKED)
@pytest.mark.parametrize("family", FAMILIES)
def test_queries_and_keys_equal_brute_force(
    sharp_case_of: SharpCaseOf, family: str, direction: str, metric: str
) -> None:
    """Saturated attention, pairs of differing lengths in one batch, each with every query and key alone."""
    case, model = sharp_case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=FIXED, method=("atp*", "atp"), direction=direction, metric=metric
    )
    gaps = []
    for index, (result, pair) in enumerate(zip(results, case.token_pairs, strict=True)):
        assert result.error is None
        expected = qk_scores(model, pair, direction, metric)
        for site in FIXED:
            assert_close(result.scores["atp*"][site], expected[site], 1e-5, f"pair {index}, {site}", 1e-5)
        gaps.append(largest_gap(result.scores["atp"], expected, FIXED))
    # The slope alone is far off, so nothing is equal by chance.
    assert max(gaps) > (1 if metric == "logit_diff" else 0.1)


def test_pairs_that_share_a_run_have_scores_of_their_own(sharp_case_of: SharpCaseOf) -> None:
    """One base run for three pairs, whose keys and queries come from three others."""
    case, model = sharp_case_of("llama")
    results = case.engine.attribute(SHARED, sites=FIXED, method="atp*", direction="noise")
    for result, pair in zip(results, SHARED, strict=True):
        expected = qk_scores(model, tokenize(case.model, pair), "noise", "logit_diff")
        for site in FIXED:
            assert_close(result.scores["atp*"][site], expected[site], 1e-5, site, 1e-5)


@pytest.mark.parametrize("grad_drop", [False, True])
@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "opt", "phi"])
def test_computing_less_and_batching_change_nothing(case_of: CaseOf, family: str, grad_drop: bool) -> None:
    """All shortcuts against none, all pairs in one batch against each alone."""
    case = case_of(family)
    options: dict[str, Any] = {"sites": case.sites, "method": "atp*", "grad_drop": grad_drop}
    plain = case.engine.with_shortcuts(Shortcuts.none())
    results = case.engine.attribute(case.pairs * 2, **options, batch_tokens=10_000)
    for index, pair in enumerate(case.pairs * 2):
        for engine in (plain, case.engine):
            [alone] = engine.attribute([pair], **options)
            for site in case.sites:
                assert_close(
                    results[index].scores["atp*"][site], alone.scores["atp*"][site], 1e-5, f"{index}, {site}"
                )


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_other_sites_have_the_scores_of_atp(case_of: CaseOf, family: str) -> None:
    """Values act through no softmax, nor does anything behind them; both methods in one call."""
    case = case_of(family)
    for result in case.engine.attribute(case.pairs, sites=case.sites, method=("atp", "atp*")):
        for site in set(case.sites) - {*FIXED}:
            assert_close(result.scores["atp*"][site], result.scores["atp"][site], 1e-6, site)


@pytest.mark.parametrize(("direction", "metric"), [("denoise", "logit_diff"), ("noise", "prob_diff")])
@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_dropped_gradients_equal_their_definition(
    case_of: CaseOf, family: str, direction: str, metric: str
) -> None:
    """As many whole backward passes as layers, each with one layer's attention and MLP cut off."""
    case = case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=case.sites, method="atp*", grad_drop=True, direction=direction, metric=metric
    )
    for index, (result, reference) in enumerate(zip(results, case.references(direction), strict=True)):
        for site, expected in dropped_scores(reference, metric).items():
            if site not in FIXED:
                assert_close(result.scores["atp*"][site], expected, 1e-5, f"pair {index}, {site}")


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox", "opt"])
def test_dropped_gradients_of_queries_and_keys_equal_their_definition(
    sharp_case_of: SharpCaseOf, family: str
) -> None:
    """Each pass's own gradient goes through the softmax one query or key at a time."""
    case, model = sharp_case_of(family)
    results = case.engine.attribute(case.pairs, sites=FIXED, method="atp*", grad_drop=True)
    for index, (result, pair) in enumerate(zip(results, case.token_pairs, strict=True)):
        expected = dropped_qk_scores(model, pair, "denoise", "logit_diff")
        for site in FIXED:
            assert_close(result.scores["atp*"][site], expected[site], 1e-5, f"pair {index}, {site}", 1e-5)


def test_neurons_summed_over_positions_lose_their_signs_first(case_of: CaseOf) -> None:
    """A component's score is the sum of its positions' scores, with GradDrop as without."""
    case = case_of("gpt2")
    options: dict[str, Any] = {"sites": ("mlp_post",), "method": "atp*", "grad_drop": True}
    summed = case.engine.attribute(case.pairs, **options, keep_positions=False)
    for result, kept in zip(summed, case.engine.attribute(case.pairs, **options), strict=True):
        assert_close(
            result.scores["atp*"]["mlp_post"], kept.scores["atp*"]["mlp_post"].sum(1), 1e-5, "mlp_post"
        )


def test_one_layer_leaves_nothing_to_average_over(case_of: CaseOf) -> None:
    """GradDrop divides by the number of layers less one: refused where that is nothing."""
    model, query = case_of("gpt2").engine._model, Query.of(method="atp*", grad_drop=True)
    check_methods(model, query)
    shallow = dataclasses.replace(
        model, layout=dataclasses.replace(model.layout, blocks=model.layout.blocks[:1])
    )
    with pytest.raises(SpecError, match="at least two layers") as refused:
        check_methods(shallow, query)
    assert refused.value.field == "grad_drop"


@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_softmax_times_values_is_what_heads_put_out(case_of: CaseOf, family: str) -> None:
    """So the softmax that is computed anew is the model's own; z to 1e-5 in every family."""
    assert what_is_missing(case_of(family).engine._model) is None


def test_attention_of_another_kind_is_refused_for_queries_and_keys(
    case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named with the argument that is not understood; values, heads and plain attribution remain."""
    case, eager_attention = case_of("gemma2"), modeling_gemma2.eager_attention_forward

    def warmer(*args: Any, scaling: float, temperature: float = 2.0, **options: Any) -> Any:
        return eager_attention(*args, scaling=scaling / temperature, **options)

    monkeypatch.setattr(modeling_gemma2, "eager_attention_forward", warmer)
    engine = case.engine.with_shortcuts(case.engine.shortcuts)
    wrong = r"atp\* cannot score q of this model: layer 0 does not compute attention"
    with pytest.raises(SpecError, match=wrong) as refused:
        engine.attribute(case.pairs, sites=("q", "z"), method="atp*")
    assert refused.value.field == "method"
    assert engine.attribute(case.pairs[:1], sites=("v", "z"), method="atp*")[0].error is None
    assert engine.attribute(case.pairs[:1], sites=("q",), method="atp")[0].error is None


@pytest.mark.parametrize("most", [1, 2**22])
def test_sinks_caps_and_biases_are_part_of_the_softmax(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Random attention with everything a softmax can have, its queries in slices or at once."""
    monkeypatch.setattr(qkfix, "_MOST", most)
    drawn = torch.Generator().manual_seed(0)
    queries, keys, values, slope, others = (
        3 * torch.randn(2, 3, 5, 4, generator=drawn, dtype=torch.float32) for _ in range(5)
    )
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)[None, None].repeat(2, 1, 1, 1)
    hidden[1, :, :, 0] = True  # padding
    bias = torch.randn(1, 3, 5, 5, generator=drawn)
    pattern = Pattern(0.5, 4.0, torch.randn(3, generator=drawn), bias, hidden)
    attended = Attended(pattern, queries, keys, values, slope)

    def metric(queries: Tensor, keys: Tensor) -> Tensor:
        logits = 4 * torch.tanh(queries @ keys.transpose(-1, -2) * 0.5 / 4) + bias
        exponentials = torch.where(hidden, 0, logits.double().exp())
        total = exponentials.sum(-1, keepdim=True) + pattern.sinks.double().exp().view(1, 3, 1, 1)
        return (exponentials / total @ values.double() * slope).sum((2, 3))

    for score, name in ((attended.of_queries(others), "queries"), (attended.of_keys(others), "keys")):
        for place in range(5):
            moved = {"queries": queries.clone(), "keys": keys.clone()}
            moved[name][:, :, place] = others[:, :, place]
            expected = metric(**moved) - metric(queries, keys)
            # Nothing reads the padding's own query, whose softmax is over its sink alone.
            rows = slice(1) if name == "queries" and place == 0 else slice(None)
            assert_close(score[rows, :, place], expected[rows], 1e-5, f"{name}, {place}")
