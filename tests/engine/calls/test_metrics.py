"""What the four metrics are, and which pairs cannot be measured by them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from patchgrid.core.errors import PairError
from patchgrid.engine import Component, Pair, TokenText
from support.engine.cases import Case, assert_close, tiny_case
from support.engine.shapes import CONTEXT
from support.engine.vocabulary import token_id

CaseOf = Callable[[str], Case]


def log_probabilities(case: Case, prompt: str) -> torch.Tensor:
    """Run a prompt through the plain model; log-probabilities of what follows `[vocabulary]`."""
    with torch.no_grad():
        logits = case.model.model(torch.tensor([case.model.tokenizer(prompt).input_ids])).logits[0, -1]
    return torch.log_softmax(logits.double(), dim=-1)


def test_metrics_are_what_they_are_called(case_of: CaseOf) -> None:
    """Each metric of both prompts, worked out here from the model's own probabilities."""
    case = case_of("gemma3_text")
    pair = case.pairs[4]
    correct, incorrect = (
        [token_id(" and"), token_id(" then")],
        [token_id(" in"), token_id(" of"), token_id(" to")],
    )
    logs = [log_probabilities(case, prompt) for prompt in (pair.clean, pair.corrupted)]
    clean = logs[0]
    wanted = {
        "logit_diff": [float(log[correct].mean() - log[incorrect].mean()) for log in logs],
        "logprob": [float(log[correct].exp().sum().log()) for log in logs],
        "prob_diff": [float(log[correct].exp().sum() - log[incorrect].exp().sum()) for log in logs],
        "kl": [float((clean.exp() * (clean - log)).sum()) for log in logs],
    }
    for metric, expected in wanted.items():
        [result] = case.engine.attribute([pair], metric=metric)
        assert (result.clean_metric, result.corrupted_metric) == pytest.approx(expected, rel=1e-4, abs=2e-6)


def test_logits_are_the_soft_capped_ones(case_of: CaseOf) -> None:
    """With a small cap the uncapped difference would be far off; the metric is the model's final logits'."""
    case = case_of("gemma2")
    cap = case.model.model.config.final_logit_softcapping
    for result, reference in zip(case.engine.attribute(case.pairs), case.references("denoise"), strict=True):
        logits = reference.clean.logits.detach()
        uncapped = cap * torch.atanh(logits / cap)
        metric = reference.metric("logit_diff")
        assert result.clean_metric == pytest.approx(float(metric(logits)), rel=1e-4)
        assert abs(float(metric(uncapped) - metric(logits))) > 1e-3


def test_several_answers_are_averaged_not_summed(case_of: CaseOf) -> None:
    """Scores are linear in the metric: a list's `logit_diff` is the mean over its single answers'."""
    case = case_of("qwen2")
    prompts = (case.pairs[4].clean, case.pairs[4].corrupted)
    both = Pair(*prompts, (" and", " then"), (" in",))
    single = [Pair(*prompts, answer, " in") for answer in (" and", " then")]
    results = case.engine.attribute([both, *single])
    for site, scores in results[0].scores["atp"].items():
        assert_close(
            scores, (results[1].scores["atp"][site] + results[2].scores["atp"][site]) / 2, 1e-5, site
        )


#: What is wrong, and what a good pair is changed to.
BAD_PAIRS: dict[str, dict[str, Any]] = {
    "lengths differ": {"corrupted": "When Mary and John went to"},
    "an answer of several tokens": {"correct": (" cat dog",)},
    "an answer of no token": {"incorrect": ("",)},
    "an answer that merges with the prompt": {"clean": "The ca", "corrupted": "The dog", "correct": ("t",)},
    "the prompt ends in the answer's space": {
        "clean": "The cat ",
        "corrupted": "The dog ",
        "correct": ("and",),
    },
    "correct equals incorrect": {"correct": (" Mary",), "incorrect": (" Mary",)},
    "correct equals incorrect as token": {"correct": (" Mary",), "incorrect": (token_id(" Mary"),)},
    "an id outside the vocabulary": {"correct": (10**6,)},
    "a negative id": {"incorrect": (-1,)},
    "a vocabulary entry of several tokens": {"correct": (TokenText(" cat dog"),)},
    "identical prompts": {"corrupted": "When Mary and John went to the shop, John gave a ball to"},
    "beyond the context": {"clean": "Mary" + " the" * CONTEXT, "corrupted": "John" + " the" * CONTEXT},
    "an empty prompt": {"clean": "", "corrupted": ""},
}


@pytest.mark.parametrize("reason", BAD_PAIRS)
def test_a_pair_that_cannot_be_measured_fails_alone(case_of: CaseOf, reason: str) -> None:
    """It carries its reason and no numbers; the pairs around it have theirs as if it were not there."""
    case = case_of("gpt2")
    bad = replace(case.pairs[0], **BAD_PAIRS[reason])
    before, failed, after = case.engine.attribute([case.pairs[1], bad, case.pairs[0]])
    assert failed.error
    assert "\n" not in failed.error
    assert "finite" not in failed.error
    assert failed.scores == {}
    assert np.isnan([failed.clean_metric, failed.corrupted_metric]).all()
    for result, index in ((before, 1), (after, 0)):
        assert result.error is None
        expected = case.references("denoise")[index].scores("logit_diff")
        for site, scores in result.scores["atp"].items():
            assert_close(scores, expected[site], 1e-4, site)
    with pytest.raises(PairError):
        case.engine.patch([case.pairs[1], bad], [Component("z", 0)])


def test_an_answer_without_its_leading_space_is_measured_with_a_warning(case_of: CaseOf) -> None:
    """`Mary` glued to the prompt is another token than ` Mary`: measured as asked, and said."""
    case = case_of("gpt2")
    glued = replace(case.pairs[0], correct=("Mary",), incorrect=("John",))
    spaced, result = case.engine.attribute([case.pairs[0], glued])
    assert spaced.warning is None
    assert result.error is None
    assert result.warning is not None
    assert result.clean_metric != pytest.approx(spaced.clean_metric)


def test_logits_that_are_not_numbers_fail_their_pair_only(tmp_path: Path) -> None:
    """A token whose embedding is broken spoils the prompts it stands in, and no other of the batch."""
    case = tiny_case("qwen2", tmp_path)
    with torch.no_grad():
        case.model.model.get_input_embeddings().weight[token_id(" red")] = float("nan")
    case.model.model.save_pretrained(case.model.folder)
    results = case.engine.attribute(case.pairs, batch_tokens=100_000)
    assert [result.error is None for result in results] == [" red" not in pair.clean for pair in case.pairs]
    for index, result in enumerate(results):
        for site, scores in result.scores.get("atp", {}).items():
            assert_close(scores, case.references("denoise")[index].scores("logit_diff")[site], 1e-4, site)
    broken = next(result for result in results if result.error)
    assert "NaN" in str(broken.error)
    with pytest.raises(PairError, match=r"NaN|finite"):
        case.engine.patch(case.pairs, [Component("z", 0)])


def test_failed_pairs_are_reported_with_their_cells(case_of: CaseOf) -> None:
    """Cells of a pair that cannot be measured are NaN with its reason; other cells are measured."""
    case = case_of("gpt2")
    bad = replace(case.pairs[0], corrupted="When")
    effects, errors = case.engine.patch_cells(
        [bad, case.pairs[1]], [(0, Component("z", 0)), (1, Component("z", 0))]
    )
    assert list(errors) == [0]
    assert np.isnan(effects[0])
    expected = case.references("denoise")[1].effects([Component("z", 0)], ["logit_diff"])["logit_diff"]
    assert_close(effects[1:], expected, 1e-4, "measured cell")
