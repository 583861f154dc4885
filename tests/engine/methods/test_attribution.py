"""Attribution scores against the reference, which shares no code with the engine."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patchgrid.core.errors import SpecError
from patchgrid.core.names import DIRECTIONS, METRICS
from patchgrid.engine import Pair, TokenText
from reference.patching import TokenPair
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import EVERY, FAMILIES, THOROUGH, each
from support.engine.shapes import LAYERS
from support.engine.vocabulary import token_id

CaseOf = Callable[[str], Case]
#: `kl` has no gradient at the clean run, from which `noise` starts.
SETTINGS = [asked for asked in itertools.product(DIRECTIONS, METRICS) if asked != ("noise", "kl")]
FEWER = [("denoise", "logit_diff"), ("noise", "logprob")]
#: Families with a norm between the heads and what attention adds to the residual stream.
NORMED = (
    "afmoe",
    "bitnet",
    "exaone4",
    "flex_olmo",
    "gemma2",
    "gemma3_text",
    "glm4",
    "hyperclovax",
    "olmo2",
    "olmo3",
)


@pytest.mark.parametrize(
    ("family", "direction", "metric"),
    [*each(SETTINGS, FEWER, THOROUGH), *(("demo_model", *setting) for setting in SETTINGS)],
)
def test_scores_equal_the_reference(case_of: CaseOf, family: str, direction: str, metric: str) -> None:
    """Every site, layer, position and head of pairs of differing lengths scored in one call."""
    case = case_of(family)
    results = case.engine.attribute(case.pairs, sites=case.sites, direction=direction, metric=metric)
    assert len(results) == len(case.pairs)
    for index, (result, reference) in enumerate(zip(results, case.references(direction), strict=True)):
        assert result.error is None
        assert set(result.scores["atp"]) == set(case.sites)
        for site, expected in reference.scores(metric).items():
            assert result.scores["atp"][site].dtype == np.float32
            # With one key there is nothing to attend to but it: the score of its query and key is 0.
            floor = ROUNDING if site in ("q", "k") else 0.0
            assert_close(result.scores["atp"][site], expected, 1e-4, f"pair {index}, {site}", floor)


@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_metrics_and_tokens_are_those_of_the_prompts(case_of: CaseOf, family: str) -> None:
    """Each result carries both unpatched metrics and one token text a position."""
    case = case_of(family)
    for metric_name in METRICS:
        results = case.engine.attribute(case.pairs, sites=("resid_post",), metric=metric_name)
        for result, reference in zip(results, case.references("denoise"), strict=True):
            metric = reference.metric(metric_name)
            assert result.clean_metric == pytest.approx(
                float(metric(reference.clean.logits.detach())), rel=1e-4, abs=2e-6
            )
            corrupted = float(metric(reference.corrupted.logits.detach()))
            assert result.corrupted_metric == pytest.approx(corrupted, rel=1e-4, abs=2e-6)
            decode = case.model.tokenizer.decode
            assert result.tokens == tuple(decode([number]) for number in reference.pair.clean)
            assert result.corrupted_tokens == tuple(decode([number]) for number in reference.pair.corrupted)


def test_only_the_named_sites_are_scored(case_of: CaseOf) -> None:
    """The default is a job's sites, and one site alone has the same scores as among others."""
    case = case_of("llama")
    default = case.engine.attribute(case.pairs[:2])
    assert set(default[0].scores["atp"]) == {"z", "mlp_out"}
    assert set(case.engine.attribute(case.pairs[:1], method="eap")[0].scores["eap"]) == {"edge"}
    for site in case.sites:
        alone = case.engine.attribute(case.pairs[:2], sites=(site,))
        assert set(alone[1].scores["atp"]) == {site}
        assert_close(
            alone[1].scores["atp"][site], case.references("denoise")[1].scores("logit_diff")[site], 1e-4, site
        )


@pytest.mark.parametrize("family", [name for name in EVERY if name not in NORMED])
def test_heads_add_up_to_attention(case_of: CaseOf, family: str) -> None:
    """The output projection is linear, so a layer's head scores sum to its attention score."""
    case = case_of(family)
    for result in case.engine.attribute(case.pairs, sites=("z", "attn_out")):
        assert_close(
            result.scores["atp"]["z"].sum(axis=-1), result.scores["atp"]["attn_out"], 1e-4, "sum over heads"
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_starts_where_the_last_one_ended(case_of: CaseOf, family: str) -> None:
    """`resid_pre` of a layer is `resid_post` of the layer below."""
    case = case_of(family)
    for result in case.engine.attribute(case.pairs, sites=("resid_pre", "resid_post"), direction="noise"):
        assert_close(
            result.scores["atp"]["resid_pre"][1:],
            result.scores["atp"]["resid_post"][:-1],
            1e-6,
            "residual stream",
        )


def test_positions_before_the_first_difference_score_nothing(case_of: CaseOf) -> None:
    """Where both prompts are the same so far, both runs are, and patching can do nothing."""
    result = case_of("gpt2").engine.attribute(case_of("gpt2").pairs[:1])[0]
    first = 9
    for site, scores in result.scores["atp"].items():
        assert not scores[:, :first].any(), site
        assert scores[0, first:].any(), site


@pytest.mark.parametrize("method", ["atp", "atp*", "relp"])
def test_kl_has_no_gradient_at_the_clean_run(case_of: CaseOf, method: str) -> None:
    """Every score from the clean run would be 0, whatever the effects are: refused before anything runs."""
    case = case_of("gpt2")
    with pytest.raises(SpecError, match=r"is 0 at the clean run itself.*use the denoise direction"):
        case.engine.attribute(case.pairs, method=method, direction="noise", metric="kl")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_answers_may_be_ids_texts_or_vocabulary_entries(case_of: CaseOf, family: str) -> None:
    """The same tokens named in each way give the same scores, where the tokenizer adds a BOS too."""
    case = case_of(family)
    clean, corrupted = case.pairs[4].clean, case.pairs[4].corrupted
    ways = [
        Pair(clean, corrupted, (" and", " then"), (" in",)),
        Pair(clean, corrupted, (token_id(" and"), token_id(" then")), token_id(" in")),
        Pair(clean, corrupted, (TokenText(" and"), TokenText(" then")), TokenText(" in")),
    ]
    expected, *others = case.engine.attribute(ways)
    assert expected.error is None
    for other in others:
        for site, scores in expected.scores["atp"].items():
            assert_close(other.scores["atp"][site], scores, 1e-6, site)


def test_prepended_bos_counts_as_a_position(case_of: CaseOf) -> None:
    """Asked for, a BOS stands before each prompt of a tokenizer that puts none there, and once only."""
    case = case_of("gpt2")
    token_pair = case.token_pairs[1]
    bos = case.model.tokenizer.bos_token_id
    longer = TokenPair(
        [bos, *token_pair.clean], [bos, *token_pair.corrupted], token_pair.correct, token_pair.incorrect
    )
    expected = case.reference_of(longer, "denoise").scores("logit_diff")
    [result] = case.engine.attribute([case.pairs[1]], sites=case.sites, prepend_bos=True)
    assert result.tokens[0] == case.model.tokenizer.bos_token
    for site, scores in expected.items():
        assert_close(result.scores["atp"][site], scores, 1e-4, site)
    with_bos = case_of("llama")
    [asked] = with_bos.engine.attribute([with_bos.pairs[1]], prepend_bos=True)
    assert asked.tokens == with_bos.engine.attribute([with_bos.pairs[1]])[0].tokens


def test_a_bos_can_be_left_out(case_of: CaseOf) -> None:
    """Asked to, the engine drops the BOS that the tokenizer would put there."""
    case = case_of("llama")
    token_pair = case.token_pairs[1]
    shorter = TokenPair(
        token_pair.clean[1:], token_pair.corrupted[1:], token_pair.correct, token_pair.incorrect
    )
    expected = case.reference_of(shorter, "denoise").scores("logit_diff")
    [result] = case.engine.attribute([case.pairs[1]], sites=case.sites, prepend_bos=False)
    for site, scores in expected.items():
        assert_close(result.scores["atp"][site], scores, 1e-4, site)


def test_no_pairs_give_no_results(case_of: CaseOf) -> None:
    """An empty list is answered with an empty list."""
    assert case_of("gpt2").engine.attribute([]) == []


@pytest.mark.parametrize(
    "wrong",
    [{"sites": ("mlp_outt",)}, {"metric": "logit_dif"}, {"direction": "denoised"}, {"method": "attp"}],
)
def test_an_unknown_name_is_refused_with_the_nearest(case_of: CaseOf, wrong: dict[str, Any]) -> None:
    """A misspelt site, metric, direction or method names the right one."""
    case = case_of("gpt2")
    with pytest.raises(SpecError, match=r"did you mean '(mlp_out|logit_diff|denoise|atp)'"):
        case.engine.attribute(case.pairs[:1], **wrong)


def test_scores_have_one_row_a_layer_and_one_column_a_position(case_of: CaseOf) -> None:
    """Shapes are those of the pair itself, whatever it was batched with."""
    case = case_of("mistral")
    for result, pair in zip(
        case.engine.attribute(case.pairs, sites=("resid_post", "z")), case.token_pairs, strict=True
    ):
        assert result.scores["atp"]["resid_post"].shape == (LAYERS, len(pair.clean))
        assert result.scores["atp"]["z"].shape == (LAYERS, len(pair.clean), 4)
