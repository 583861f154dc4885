"""Metrics given as functions: the same numbers as the named ones, pair by pair, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from patchgrid.core.errors import SpecError
from patchgrid.core.spec import JobSpec
from patchgrid.engine import Component
from patchgrid.engine.tokenization.tokens import TokenPair
from support.engine.cases import Case, assert_close

CaseOf = Callable[[str], Case]
COMPONENTS = [Component("z", 1, head=1), Component("mlp_out", 0)]


def logit_diff(logits: Tensor, pair: TokenPair) -> Tensor:
    """As the metric of this name, written on one pair's answers."""
    return logits[:, list(pair.correct)].mean(1) - logits[:, list(pair.incorrect)].mean(1)


def logprob(logits: Tensor, pair: TokenPair) -> Tensor:
    """As the metric of this name."""
    return logits.softmax(1)[:, list(pair.correct)].sum(1).log()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("function", [logit_diff, logprob])
@pytest.mark.parametrize("method", ["atp", "ig", "relp"])
def test_a_function_gives_the_numbers_of_the_named_metric(
    case_of: CaseOf, method: str, function: Any, direction: str
) -> None:
    """Metrics, scores and exact effects, in batches whose pairs repeat and differ in their answers."""
    case, pairs = case_of("gpt2"), case_of("gpt2").pairs * 2
    asked = {"method": method, "direction": direction, "batch_tokens": 10_000}
    for one, other in zip(
        case.engine.attribute(pairs, metric=function, **asked),
        case.engine.attribute(pairs, metric=function.__name__, **asked),
        strict=True,
    ):
        assert one.clean_metric == pytest.approx(other.clean_metric, rel=1e-4, abs=1e-5)
        assert one.corrupted_metric == pytest.approx(other.corrupted_metric, rel=1e-4, abs=1e-5)
        for site, scores in other.scores[method].items():
            assert_close(one.scores[method][site], scores, 1e-4, site, 1e-5)
    effects = [
        case.engine.patch(pairs, COMPONENTS, metric=metric, direction=direction)
        for metric in (function, function.__name__)
    ]
    assert_close(effects[0], effects[1], 1e-4, "effects", 1e-5)


def test_a_function_reads_its_own_pair_alone(case_of: CaseOf) -> None:
    """Pairs with equal base prompts and answers share no row of it: it may tell them apart."""
    case, pairs = case_of("gpt2"), [case_of("gpt2").pairs[0]] * 3

    def placed(logits: Tensor, pair: TokenPair) -> Tensor:
        return logits[:, pair.correct[0]] * 0 + float(pair.index) + logits[:, 0] * 0

    found = case.engine.attribute(pairs, metric=placed, sites="z")
    assert [each.clean_metric for each in found] == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda logits, _pair: logits.sum(), r"must return a tensor \[\d+\], one value a row"),
        (lambda _logits, _pair: 1.0, "it returned float"),
        (lambda logits, _pair: logits.argmax(1), "must return floating point numbers"),
        (lambda logits, _pair: logits.detach()[:, 0], "cannot be differentiated"),
        (lambda _logits, pair: pair.nothing, "raised AttributeError"),
    ],
)
def test_a_function_that_is_no_metric_is_refused(case_of: CaseOf, function: Any, message: str) -> None:
    """With what it returned."""
    case = case_of("gpt2")
    with pytest.raises(SpecError, match=message) as refused:
        case.engine.attribute(case.pairs[:1], metric=function, sites="z")
    assert refused.value.field == "metric"


def test_a_job_takes_no_function() -> None:
    """It is stored, and a function has no name to store."""
    with pytest.raises(SpecError, match=r"stores its metric by name.*docs/metrics\.md"):
        JobSpec.of("m", metric=logit_diff)


def test_results_have_one_shape_for_one_method_and_for_several(case_of: CaseOf) -> None:
    """By method, then site; all pairs together, aligned at the last token, NaN where there is nothing."""
    case = case_of("gpt2")
    pairs = [*case.pairs[:2], type(case.pairs[0])("a", "b", (10**6,), (1,))]
    for methods in (("relp",), ("atp", "relp")):
        results = case.engine.attribute(pairs, sites=("z", "mlp_out"), method=methods)
        assert tuple(results.scores) == methods
        assert set(results.scores["relp"]) == {"z", "mlp_out"}
        together = results.scores["relp"]["z"]
        assert together.dtype == np.float32
        assert together.shape[2] == max(len(each.tokens) for each in results)
        for row, each in zip(together[:2], results, strict=False):
            own = each.scores["relp"]["z"]
            np.testing.assert_array_equal(row[:, row.shape[1] - own.shape[1] :], own)
            assert np.isnan(row[:, : row.shape[1] - own.shape[1]]).all()
        assert np.isnan(together[2]).all()
        assert repr(results) == f"<Results of 3 pairs; {', '.join(methods)} at z, mlp_out; 1 failed>"
