"""Each family loads from its folder and is understood, or refused with what was not found."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from patchgrid.core.errors import ModelError, SpecError
from patchgrid.core.sites import EDGE, SITES
from patchgrid.engine import Component, Engine
from support.engine.cases import Case, assert_close, tiny_case
from support.engine.models import EVERY, PARALLEL, save_model
from support.engine.vocabulary import VOCABULARY, build_tokenizer

CaseOf = Callable[[str], Case]
#: Key-value heads of families that name them each in its own way.
KV_HEADS = {
    "gpt2": 4,
    "llama": 2,
    "falcon": 1,
    "falcon_alibi": 4,
    "falcon_grouped": 2,
    "gpt_bigcode": 1,
    "dbrx": 2,
}


@pytest.mark.parametrize("family", EVERY)
def test_the_layout_is_the_model_s(case_of: CaseOf, family: str) -> None:
    """Layers and query heads are counted right, with fewer key-value heads or wider heads too."""
    case = case_of(family)
    layout = case.engine.layout
    assert (len(layout.blocks), layout.n_heads) == (case.layers, case.heads)
    assert layout.parallel == (family in PARALLEL)


@pytest.mark.parametrize("family", PARALLEL)
def test_parallel_models_have_no_stream_between_attention_and_mlp(case_of: CaseOf, family: str) -> None:
    """`resid_mid` is refused by name, for scoring and for patching."""
    case = case_of(family)
    with pytest.raises(SpecError, match="resid_mid") as refused:
        case.engine.attribute(case.pairs, sites=("z", "resid_mid"))
    assert refused.value.field == "sites"
    with pytest.raises((SpecError, ModelError), match="resid_mid"):
        case.engine.patch(case.pairs, [Component("resid_mid", 0)])


@pytest.mark.parametrize("family", EVERY)
def test_the_model_s_own_check_passes(case_of: CaseOf, family: str) -> None:
    """Parts add up, three scores are slopes, and a patch of everything gives the source's metric."""
    report = case_of(family).engine.check()
    assert report.passed, [check for check in report.checks if not check.passed]
    assert (report.found_by, report.kv_heads) == ("record", KV_HEADS.get(family, report.kv_heads))
    assert set(report.missing) == set(SITES) - {EDGE} - _having(family, case_of(family).sites)
    assert ("resid_mid" in report.missing) == (family in PARALLEL)


@pytest.mark.parametrize("family", EVERY)
def test_dropout_is_off(case_of: CaseOf, family: str) -> None:
    """Every tiny model's configuration has dropout; two calls give the very same scores."""
    case = case_of(family)
    config = case.model.model.config.to_dict()
    assert any("drop" in name and value for name, value in config.items())
    first, second = (case.engine.attribute(case.pairs[:1])[0] for _ in range(2))
    for site, scores in first.scores["atp"].items():
        assert (second.scores["atp"][site] == scores).all(), site


def test_training_flags_set_after_loading_change_nothing(case_of: CaseOf) -> None:
    """Whoever holds the model may call `train()`: dropout would be scored as an effect."""
    case = case_of("phi3")
    expected = case.engine.attribute(case.pairs)
    effects = case.engine.patch(case.pairs, [Component("z", 0)])
    case.engine._model.envoy._module.train()
    for result, plain in zip(case.engine.attribute(case.pairs), expected, strict=True):
        for site, scores in plain.scores["atp"].items():
            assert (result.scores["atp"][site] == scores).all(), site
    case.engine._model.envoy._module.model.layers[1].train()
    assert (case.engine.patch(case.pairs, [Component("z", 0)]) == effects).all()


def test_dropout_that_no_flag_switches_off_is_refused(case_of: CaseOf) -> None:
    """A run that is not the same twice would give prompts that are the same an effect."""
    engine = case_of("llama").engine
    mlp = engine._model.envoy._module.model.layers[1].mlp
    handle = mlp.register_forward_hook(lambda _module, _args, output: torch.dropout(output, 0.2, train=True))
    try:
        with pytest.raises(ModelError, match="gives different numbers"):
            engine.with_shortcuts(engine.shortcuts)
    finally:
        handle.remove()


def test_positions_that_are_the_same_in_both_prompts_have_no_effect(case_of: CaseOf) -> None:
    """What lies before the first difference is the same in both runs, to the last bit."""
    case = case_of("seed_oss")
    case.engine._model.envoy._module.train()
    [result] = case.engine.attribute(case.pairs[:1], sites=case.sites)
    first = next(
        at for at, (a, b) in enumerate(zip(result.tokens, result.corrupted_tokens, strict=True)) if a != b
    )
    for site, scores in result.scores["atp"].items():
        assert not scores[:, :first].any(), site


def test_a_model_whose_norm_follows_the_sum_is_refused(tmp_path: Path) -> None:
    """In OPT-350m the parts do not add up to the residual stream, so the self-check turns it away."""
    model = save_model("opt_post_norm", tmp_path)
    with pytest.raises(ModelError):
        Engine.load(str(model.folder), device="cpu", dtype="float32")


def test_a_model_without_attention_is_refused_with_what_was_not_found(tmp_path: Path) -> None:
    """A state-space model has no heads to measure."""
    config = AutoConfig.for_model(
        "mamba", vocab_size=len(VOCABULARY), hidden_size=32, state_size=4, num_hidden_layers=2, pad_token_id=0
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"mamba|attention|projection|block"):
        Engine.load(str(tmp_path), device="cpu", dtype="float32")


def test_low_precision_models_give_roughly_the_same_scores(case_of: CaseOf) -> None:
    """bfloat16 weights are used as they are; scores come back in float32, near the float32 model's."""
    case = case_of("llama")
    engine = Engine.load(str(case.model.folder), device="cpu", dtype="bfloat16")
    for result, expected in zip(engine.attribute(case.pairs), case.engine.attribute(case.pairs), strict=True):
        for site, scores in expected.scores["atp"].items():
            assert result.scores["atp"][site].dtype == scores.dtype
            assert_close(result.scores["atp"][site], scores, 0.25, site)


def test_gradient_state_of_the_process_is_left_alone(case_of: CaseOf) -> None:
    """Scoring works under `no_grad` and leaves weights without gradients."""
    case = case_of("gpt2")
    expected = case.engine.attribute(case.pairs[:1])[0]
    with torch.no_grad():
        result = case.engine.attribute(case.pairs[:1])[0]
    assert torch.is_grad_enabled()
    for site, scores in expected.scores["atp"].items():
        assert_close(result.scores["atp"][site], scores, 1e-6, site)
    assert all(parameter.grad is None for parameter in case.model.model.parameters())


def test_a_second_set_of_weights_is_not_confused_with_the_first(tmp_path: Path) -> None:
    """Two models of one family loaded in one process keep apart."""
    for seed in (1, 2):
        case = tiny_case("qwen3", tmp_path / str(seed), seed=seed)
        [result] = case.engine.attribute(case.pairs[:1])
        expected = case.references("denoise")[0].scores("logit_diff")
        for site, scores in result.scores["atp"].items():
            assert_close(scores, expected[site], 1e-4, site)


def _having(family: str, sites: tuple[str, ...]) -> set[str]:
    """Add the pattern, which the reference does not see, to the sites of a model that shows its queries.

    In afmoe a gate stands between softmax and `z`.
    """
    return {*sites, "attn_pattern"} if "q" in sites and family != "afmoe" else {*sites}
