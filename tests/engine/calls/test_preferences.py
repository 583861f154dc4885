"""Which answers the unpatched runs prefer, and pairs that are skipped by that."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from patchgrid.engine import Component, Pair, calls
from patchgrid.engine.results import Measured, PairResult
from support.engine.cases import Case, assert_close
from support.engine.vocabulary import token_id

CaseOf = Callable[[str], Case]

SITES = ("z", "mlp_out")


def logits_after(case: Case, prompt: str) -> torch.Tensor:
    """Run a prompt through the plain model; the last position's logits in float64."""
    with torch.no_grad():
        return case.model.model(torch.tensor([case.model.tokenizer(prompt).input_ids])).logits[0, -1].double()


def preference(case: Case, prompt: str, correct: Sequence[int], incorrect: Sequence[int]) -> float:
    """Work out from the model's own probabilities what a run prefers."""
    probabilities = logits_after(case, prompt).softmax(-1)
    return float(probabilities[list(correct)].sum().log() - probabilities[list(incorrect)].sum().log())


def with_both_kinds(case: Case) -> list[Pair]:
    """Return pairs of which the model gets some right and some wrong: each answer on either side."""
    swapped = [Pair(pair.clean, pair.corrupted, pair.incorrect, pair.correct) for pair in case.pairs]
    return [pair for both in zip(case.pairs, swapped, strict=True) for pair in both]


@pytest.mark.parametrize(
    ("family", "direction", "metric"),
    [
        *(("gemma2", "denoise", metric) for metric in ("logit_diff", "logprob", "prob_diff", "kl")),
        ("gpt2", "noise", "logit_diff"),
        ("gpt2", "noise", "prob_diff"),
    ],
)
def test_the_preference_is_the_log_odds_whatever_the_metric(
    case_of: CaseOf, family: str, direction: str, metric: str
) -> None:
    """Of several answers on either side, as the plain model's probabilities have it."""
    case = case_of(family)
    pair = case.pairs[4]
    correct, incorrect = (token_id(" and"), token_id(" then")), (token_id(" in"), token_id(" of"))
    asked = Pair(pair.clean, pair.corrupted, correct, incorrect)
    [found] = case.engine.attribute([asked], metric=metric, direction=direction)
    wanted = [preference(case, prompt, correct, incorrect) for prompt in (pair.clean, pair.corrupted)]
    assert [found.clean_preference, found.corrupted_preference] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_answers_are_given_as_tokens_each_beside_its_own(case_of: CaseOf) -> None:
    """An id and a text that are the same token are two answers of the file, and one of the metric."""
    case = case_of("gpt2")
    pair = case.pairs[4]
    asked = Pair(pair.clean, pair.corrupted, (" and", token_id(" and"), token_id(" then")), (" in",))
    [found] = case.engine.attribute([asked])
    assert found.correct_tokens == (" and", " and", " then")
    assert found.incorrect_tokens == (" in",)


def measure(case: Case, pairs: Sequence[Pair], **options: Any) -> list[Measured]:
    """Score pairs and patch a head in each; no skipped pair may be asked for."""

    def choose(_places: Sequence[int], results: Sequence[PairResult]) -> list[list[Component]]:
        assert not any(result.skipped for result in results)
        return [[Component("z", 1, head=1)] for _ in results]

    return case.engine.measure(pairs, choose, sites=SITES, **options)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("wrong", ["half", "one", "all"])
def test_only_correct_skips_the_others_and_changes_no_number(
    case_of: CaseOf, direction: str, wrong: str
) -> None:
    """Where half a batch is wrong, where one pair is (the batch is scored whole), where all are."""
    case = case_of("gpt2")
    pairs = with_both_kinds(case)
    everything = measure(case, pairs, direction=direction)
    right = [each.result.clean_preference > 0 for each in everything]
    if wrong != "half":
        keep = [place for place, good in enumerate(right) if good == (wrong == "one")]
        if wrong == "one":
            keep.insert(2, right.index(False))
        pairs, everything = [pairs[place] for place in keep], [everything[place] for place in keep]
    found = measure(case, pairs, direction=direction, only_correct=True)
    assert {each.result.skipped for each in found} == {
        "half": {True, False},
        "one": {True, False},
        "all": {True},
    }[wrong]
    for one, whole in zip(found, everything, strict=True):
        assert one.error is None
        assert one.result.skipped == (not whole.result.clean_preference > 0)
        assert one.result.clean_metric == pytest.approx(whole.result.clean_metric, rel=1e-4, abs=1e-5)
        assert one.result.tokens == whole.result.tokens
        if one.result.skipped:
            assert (one.result.scores, len(one.effects)) == ({}, 0)
            continue
        assert_close(one.effects, whole.effects, 1e-4, "effect")
        for site in SITES:
            assert_close(one.result.scores["atp"][site], whole.result.scores["atp"][site], 1e-4, site)


def test_a_batch_that_is_mostly_wrong_is_scored_without_the_wrong_pairs(
    case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what skipping saves; the on_batch counts still add up."""
    case = case_of("gpt2")
    pairs = with_both_kinds(case)
    scored: list[int] = []
    score = calls.score

    def counting(passes: Any, method: Any) -> Any:
        scored.append(len(passes.batch.pairs))
        return score(passes, method)

    monkeypatch.setattr(calls, "score", counting)
    reported: list[float] = []
    found = measure(case, pairs, only_correct=True, on_batch=reported.append)
    assert sum(scored) == sum(not each.result.skipped for each in found) == len(pairs) / 2
    assert np.sum(reported) == pytest.approx(len(pairs))
