"""A batch changes nothing: a pair's numbers are the same alone or among others, at any padding."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchgrid.core.names import DIRECTIONS
from patchgrid.engine import Component, Engine, Pair, PairResult
from support.engine.cases import Case, assert_close, tiny_case, tokenize
from support.engine.models import FAMILIES, save_model
from support.engine.shapes import CONTEXT
from support.engine.vocabulary import build_tokenizer

CaseOf = Callable[[str], Case]
#: What a few thousand float32 additions leave, as a share of the largest of what is added.
_ROUNDING = 3e-6


def assert_same_scores(found: PairResult, expected: PairResult, what: str) -> None:
    """Compare two results of one pair, site by site, to 1e-5 of the site's largest score.

    What rounding leaves in float32 goes with the numbers that scores are made of: with the pair's largest.
    """
    assert found.error is None
    assert found.tokens == expected.tokens
    assert found.clean_metric == pytest.approx(expected.clean_metric, rel=1e-5, abs=5e-6)
    assert found.corrupted_metric == pytest.approx(expected.corrupted_metric, rel=1e-5, abs=5e-6)
    largest = max(float(np.abs(scores).max()) for scores in expected.scores["atp"].values())
    for site, scores in expected.scores["atp"].items():
        assert_close(found.scores["atp"][site], scores, 1e-5, f"{what}, {site}", floor=_ROUNDING * largest)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_scores_are_the_same_alone_and_in_any_batch(case_of: CaseOf, family: str, direction: str) -> None:
    """One pair a call, a budget of few pairs, one budget for all: the same scores to 1e-5."""
    case = case_of(family)
    engine, settings = case.engine, {"sites": case.sites, "direction": direction}
    alone = [engine.attribute([pair], **settings)[0] for pair in case.pairs]
    for budget in (40, 100_000):
        together = engine.attribute(case.pairs, batch_tokens=budget, **settings)
        for index, (found, expected) in enumerate(zip(together, alone, strict=True)):
            assert_same_scores(found, expected, f"budget {budget}, pair {index}")


@pytest.mark.parametrize("family", FAMILIES)
def test_effects_are_the_same_alone_and_in_any_batch(case_of: CaseOf, family: str) -> None:
    """The same for exact patching, with components of different layers and positions in one call."""
    case = case_of(family)
    last = [Component(site, number % case.layers, position=-1) for number, site in enumerate(case.sites)]
    components = [*last, Component("z", 0, 1), Component("z", case.layers - 1, 2), Component("mlp_out", 0)]
    alone = np.concatenate([case.engine.patch([pair], components) for pair in case.pairs])
    for budget, some in ((1, slice(3, 5)), (100_000, slice(None))):
        together = case.engine.patch(case.pairs[some], components, batch_tokens=budget)
        for found, wanted in zip(together, alone[some], strict=True):
            assert_close(found, wanted, 1e-5, f"budget {budget}", floor=1e-6)


def test_repeating_a_pair_scales_nothing(case_of: CaseOf) -> None:
    """Scores do not shrink with the batch they are in."""
    case = case_of("llama")
    [once] = case.engine.attribute(case.pairs[:1])
    for result in case.engine.attribute(case.pairs[:1] * 7, batch_tokens=100_000):
        assert_same_scores(result, once, "seven times")


def test_results_come_in_the_order_of_the_pairs(case_of: CaseOf) -> None:
    """Sorting by length inside does not show outside."""
    case = case_of("mistral")
    straight = case.engine.attribute(case.pairs)
    order = [3, 2, 5, 0, 4, 1]
    shuffled = case.engine.attribute([case.pairs[index] for index in order])
    for place, index in enumerate(order):
        assert_same_scores(shuffled[place], straight[index], f"pair {index}")


@pytest.mark.parametrize("tokenizer", [{"padding_side": "left"}, {"padding_side": "right"}, {"pad": False}])
def test_the_tokenizer_s_padding_does_not_matter(
    case_of: CaseOf, tmp_path: Path, tokenizer: dict[str, Any]
) -> None:
    """Padding left or right in the tokenizer's settings, or having no padding token, changes no score."""
    case = case_of("gpt2")
    saved = save_model("gpt2", tmp_path, tokenizer=lambda bos: build_tokenizer(bos, **tokenizer))
    engine = Engine.load(str(saved.folder), device="cpu", dtype="float32")
    expected = case.engine.attribute(case.pairs)
    for index, result in enumerate(engine.attribute(case.pairs, batch_tokens=100_000)):
        assert_same_scores(result, expected[index], f"pair {index}")


def test_a_prompt_as_long_as_the_context_is_measured(case_of: CaseOf) -> None:
    """The longest prompt the model takes works next to the shortest; one token more fails that pair only."""
    case = case_of("gpt2")
    full = Pair("Mary" + " the" * (CONTEXT - 1), "John" + " the" * (CONTEXT - 1), " and", " was")
    over = replace(full, clean=full.clean + " the", corrupted=full.corrupted + " the")
    pairs = [case.pairs[2], full, over]
    found = case.engine.attribute(pairs, sites=case.sites, batch_tokens=100_000)
    assert_same_scores(found[0], case.engine.attribute(pairs[:1], sites=case.sites)[0], "shortest")
    reference = case.reference_of(tokenize(case.model, full), "denoise").scores("logit_diff")
    for site, scores in reference.items():
        assert_close(found[1].scores["atp"][site], scores, 1e-4, site)
    assert found[2].error is not None


def test_a_prompt_may_contain_the_padding_token(case_of: CaseOf) -> None:
    """GPT-2 pads with its end of text, which prompts begin with: what is padding is not told by the id."""
    case = case_of("opt")
    pair = Pair("Mary<pad> took<pad> the", "John<pad> took<pad> the", " and", " was")
    result, *_ = case.engine.attribute([pair, *case.pairs], sites=case.sites, batch_tokens=100_000)
    reference = case.reference_of(tokenize(case.model, pair), "denoise").scores("logit_diff")
    for site, scores in reference.items():
        assert_close(result.scores["atp"][site], scores, 1e-4, site)


def test_rotary_scaling_by_length_is_each_pair_s_own(tmp_path: Path) -> None:
    """Phi-3's long scaling sets in with a prompt's own length, not with the longest one of its batch."""
    case = tiny_case("phi3_longrope", tmp_path)
    results = case.engine.attribute(case.pairs, sites=case.sites, batch_tokens=100_000)
    for index, (result, reference) in enumerate(zip(results, case.references("denoise"), strict=True)):
        for site, scores in reference.scores("logit_diff").items():
            assert_close(result.scores["atp"][site], scores, 1e-4, f"pair {index}, {site}")
    components = [Component("z", 0, 1), Component("mlp_out", 1), Component("resid_mid", 2, position=-1)]
    effects = case.engine.patch(case.pairs, components, batch_tokens=100_000)
    for row, reference in zip(effects, case.references("denoise"), strict=True):
        assert_close(row, reference.effects(components, ["logit_diff"])["logit_diff"], 1e-4, "effects")
