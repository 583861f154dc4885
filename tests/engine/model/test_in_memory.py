"""Engines of models that are in memory already: the same numbers, and the user's model as it was."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nnsight
import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchgrid.core.errors import ArgumentError, ModelError
from patchgrid.engine import Engine
from support.engine.cases import Case
from support.engine.composites import composite_case, composite_model
from support.engine.models import random_model
from support.engine.prompts import PAIRS
from support.engine.vocabulary import build_tokenizer

CaseOf = Callable[[str], Case]
#: Tied weights (gpt2), grouped queries, norms behind the parts, attention outside of transformers' interface.
FAMILIES = ("gpt2", "llama", "gemma2", "bloom", "mixtral")


def _loaded(case: Case, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(case.model.folder, dtype=dtype)
    return model, AutoTokenizer.from_pretrained(case.model.folder)


def _state(model: Any) -> dict[str, Any]:
    """What a user would notice of a model that was touched."""
    modules = dict(model.named_modules())
    return {
        "modules": {name: type(module) for name, module in modules.items()},
        "training": {name: module.training for name, module in modules.items()},
        "hooks": {name: len(module._forward_hooks) for name, module in modules.items()},
        "forward": {name: "forward" in module.__dict__ for name, module in modules.items()},
        "gradients": {name: weights.requires_grad for name, weights in model.named_parameters()},
        "memory": {name: weights.data_ptr() for name, weights in model.named_parameters()},
        "config": model.config.to_dict(),
        "attention": model.config._attn_implementation,
    }


def _wrapped(kind: str, model: Any, tokenizer: Any) -> tuple[Any, ...]:
    if kind == "transformers":
        return model, tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    if kind == "nnsight":
        return (nnsight.TransformersModel(model, tokenizer=tokenizer, task="text-generation"),)
    return nnsight.NNsight(model), tokenizer


@pytest.mark.parametrize("kind", ["transformers", "nnsight", "envoy"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_effects_are_those_of_the_folder_to_the_bit(
    case_of: CaseOf, family: str, kind: str
) -> None:
    """Whatever the model came in; `Engine.load` is held to plain hooks elsewhere."""
    case = case_of(family)
    model, tokenizer = _loaded(case)
    arguments = _wrapped(kind, model.train(), tokenizer)
    before, padding = _state(model), (tokenizer.pad_token, tokenizer.padding_side)
    engine = Engine(*arguments)
    sites = tuple(site for site in case.engine.layout.sites if site != "edge")
    assert engine.layout.sites == case.engine.layout.sites
    for mine, loaded in zip(
        engine.attribute(case.pairs, sites=sites), case.engine.attribute(case.pairs, sites=sites), strict=True
    ):
        assert mine.error == loaded.error
        for site in sites:
            np.testing.assert_array_equal(mine.scores["atp"][site], loaded.scores["atp"][site])
    cells = ["a0.h1", "m1@-1", "resid_post0"]
    np.testing.assert_array_equal(engine.patch(case.pairs, cells), case.engine.patch(case.pairs, cells))
    assert _state(model) == before
    assert (tokenizer.pad_token, tokenizer.padding_side) == padding


def test_weights_are_shared_and_stay_tied(case_of: CaseOf) -> None:
    """No weight is held twice."""
    model, tokenizer = _loaded(case_of("gpt2"))
    inside = Engine(model, tokenizer)._model.envoy._module
    mine = {weights.data_ptr() for weights in inside.parameters()}
    assert mine == {weights.data_ptr() for weights in model.parameters()}
    assert inside.lm_head.weight is inside.transformer.wte.weight
    assert not any(weights.requires_grad for weights in inside.parameters())


def test_the_model_can_be_used_and_trained_beside_its_engine(case_of: CaseOf) -> None:
    """Its logits and gradients are those of a model that no engine has seen."""
    case = case_of("llama")
    model, tokenizer = _loaded(case)
    ids = torch.tensor([tokenizer(case.pairs[0].clean).input_ids])
    engine = Engine(model, tokenizer)
    engine.attribute(case.pairs, sites="z,q", method="relp")
    other, _ = _loaded(case)
    losses = [each(input_ids=ids, labels=ids).loss for each in (model, other)]
    for loss in losses:
        loss.backward()
    assert torch.equal(*losses)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def test_weights_that_changed_since_are_refused(case_of: CaseOf) -> None:
    """The checks, and the float32 copies of a 16-bit model, were made with the old ones."""
    model, tokenizer = _loaded(case_of("gpt2"))
    engine = Engine(model, tokenizer)
    loss = model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for call in (lambda: engine.attribute(PAIRS), lambda: engine.provenance):
        with pytest.raises(ModelError, match="changed since this engine was made: make another"):
            call()
    before = case_of("gpt2").engine.attribute(PAIRS)[0].clean_metric
    assert Engine(model, tokenizer).attribute(PAIRS)[0].clean_metric != before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_number_type_is_the_models(case_of: CaseOf, dtype: torch.dtype) -> None:
    """The engine converts nothing."""
    case = case_of("llama")
    engine = Engine(*_loaded(case, dtype))
    assert engine.provenance.dtype == str(dtype).removeprefix("torch.")
    mine = engine.attribute(case.pairs, sites="z")
    if dtype == torch.bfloat16:
        loaded = Engine.load(str(case.model.folder), device="cpu", dtype="bfloat16")
        for one, other in zip(mine, loaded.attribute(case.pairs, sites="z"), strict=True):
            np.testing.assert_array_equal(one.scores["atp"]["z"], other.scores["atp"]["z"])
    else:
        for one, other in zip(mine, case.engine.attribute(case.pairs, sites="z"), strict=True):
            np.testing.assert_allclose(one.scores["atp"]["z"], other.scores["atp"]["z"], atol=1e-5)


def test_the_attention_function_is_the_models(case_of: CaseOf) -> None:
    """Both that can be tapped are run as they are named."""
    case = case_of("llama")
    model = AutoModelForCausalLM.from_pretrained(
        case.model.folder, dtype=torch.float32, attn_implementation="eager"
    )
    engine = Engine(model, case.model.tokenizer)
    assert engine._model.envoy._module.config._attn_implementation == "patchgrid_eager"
    mine, loaded = (each.attribute(case.pairs, sites="q") for each in (engine, case.engine))
    np.testing.assert_allclose(mine.scores["atp"]["q"], loaded.scores["atp"]["q"], atol=1e-5)


def test_provenance_tells_models_in_memory_apart(case_of: CaseOf) -> None:
    """By their weights: a changed model is another one, the same weights are the same."""
    case = case_of("gpt2")
    made = [Engine(*_loaded(case)).provenance for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].revision == f"in-memory-{made[0].weights_hash[:12]}"
    assert made[0].model == str(case.model.folder)
    assert made[0].config_hash == case.engine.provenance.config_hash
    model, tokenizer = _loaded(case)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias[0] += 1
    other = Engine(model, tokenizer, name="edited").provenance
    assert (other.model, other.weights_hash != made[0].weights_hash) == ("edited", True)


def test_an_nnsight_model_that_is_not_loaded_yet_is_loaded(case_of: CaseOf) -> None:
    """As its first trace would."""
    case = case_of("gpt2")
    lazy = nnsight.TransformersModel(
        str(case.model.folder), tokenizer=case.model.tokenizer, task="text-generation", dtype=torch.float32
    )
    mine, loaded = (each.attribute(PAIRS, sites="z") for each in (Engine(lazy), case.engine))
    np.testing.assert_array_equal(mine.scores["atp"]["z"], loaded.scores["atp"]["z"])


def test_a_revision_in_memory_is_never_loaded(case_of: CaseOf) -> None:
    """A worker would measure what the folder holds now in its place."""
    with pytest.raises(ModelError, match=r"was measured from a model in memory .* run it again there"):
        Engine.load(str(case_of("gpt2").model.folder), revision="in-memory-0123456789ab")


def test_hooks_of_transformers_stay(case_of: CaseOf) -> None:
    """It leaves some on a model that was asked for hidden states: the same numbers, and they still work."""
    case = case_of("llama")
    model, tokenizer = _loaded(case)
    ids = torch.tensor([[1, 2, 3]])
    states = model(ids, output_hidden_states=True).hidden_states
    mine, loaded = (each.attribute(PAIRS, sites="z") for each in (Engine(model, tokenizer), case.engine))
    np.testing.assert_array_equal(mine.scores["atp"]["z"], loaded.scores["atp"]["z"])
    assert all(map(torch.equal, model(ids, output_hidden_states=True).hidden_states, states))


@pytest.fixture
def tiny() -> tuple[Any, Any]:
    """Make a model and its tokenizer."""
    return random_model("gpt2"), build_tokenizer(False)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _: "gpt2", r"Engine\.load\('gpt2'\) loads a model by its name"),
        (lambda _: nn.Linear(2, 2), "PreTrainedModel or an nnsight model, not a Linear"),
        (lambda model: torch.compile(model, backend="eager"), "pass the one that went into torch.compile"),
        (lambda model: nn.DataParallel(model), r"a DataParallel: pass its \.module"),
    ],
)
def test_what_is_no_model_is_refused(
    tiny: tuple[Any, Any], spoil: Callable[[Any], Any], message: str
) -> None:
    """With what to pass in its place; a wrong argument is a `TypeError` and a `ValueError`."""
    with pytest.raises(ArgumentError, match=message) as caught:
        Engine(spoil(tiny[0]), tiny[1])
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_a_tokenizer_is_needed(tiny: tuple[Any, Any]) -> None:
    """A model has none by itself."""
    with pytest.raises(ArgumentError, match="a loaded model needs its tokenizer"):
        Engine(tiny[0])
    with pytest.raises(ArgumentError, match="must be a Hugging Face tokenizer, not the text"):
        Engine(tiny[0], "gpt2")


def _inference(model: Any) -> Any:
    with torch.inference_mode():
        return copy.deepcopy(model)


def _flash(model: Any) -> Any:
    model.config._attn_implementation = "flash_attention_2"
    return model


def _hooked(model: Any) -> Any:
    model.transformer.h[0].mlp.register_forward_hook(lambda _module, _args, output: output * 0)
    return model


def _edited(model: Any) -> Any:
    wrapped = nnsight.NNsight(model)
    wrapped._edits.append(object())
    return wrapped


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: model.to("meta"), "offloaded or not loaded"),
        (_inference, "inference_mode"),
        (_flash, r"'flash_attention_2', .*: call model\.set_attn_implementation\('sdpa'\) first"),
        (_hooked, r"forward hook at transformer\.h\.0\.mlp: .*handle\.remove\(\)"),
        (_edited, r"edits, which the engine would ignore: model\.clear_edits\(\)"),
        (lambda model: model.transformer, "predicts no next token: load it with AutoModelForCausalLM"),
        (lambda _: random_model("gpt2", use_cache=True)._apply(_not_finite), "NaN or inf"),
    ],
)
def test_models_that_cannot_be_measured_say_what_to_do(
    tiny: tuple[Any, Any], spoil: Callable[[Any], Any], message: str
) -> None:
    """And are as they were."""
    with pytest.raises(ModelError, match=message):
        Engine(spoil(tiny[0]), tiny[1])


def _not_finite(weights: torch.Tensor) -> torch.Tensor:
    return weights * float("nan") if weights.is_floating_point() else weights


@pytest.mark.parametrize("model_type", ["gemma3", "mllama"])
def test_a_model_of_several_parts_is_measured_by_its_text_decoder(model_type: str, tmp_path: Path) -> None:
    """As from its folder; the user's model keeps its other parts."""
    case = composite_case(model_type, tmp_path)
    model = composite_model(model_type)
    before = _state(model)
    mine, loaded = (
        each.attribute(case.pairs, sites="z,mlp_out")
        for each in (Engine(model, case.model.tokenizer), case.engine)
    )
    for site in ("z", "mlp_out"):
        np.testing.assert_array_equal(mine.scores["atp"][site], loaded.scores["atp"][site])
    assert _state(model) == before
