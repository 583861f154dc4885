"""Models of several parts are measured by their text decoder, and nothing else of them is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from patchgrid.core.errors import ModelError
from patchgrid.engine import Component, Engine
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.composites import COMPOSITES, composite_case, composite_model, save_composite

CompositeOf = Callable[[str], Case]


@pytest.fixture(scope="module")
def composite_of(tmp_path_factory: pytest.TempPathFactory) -> CompositeOf:
    """Return a type's case, made once."""
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            made[name] = composite_case(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.mark.parametrize("model_type", COMPOSITES)
def test_the_logits_are_those_of_the_whole_model(composite_of: CompositeOf, model_type: str) -> None:
    """On text, to the bit."""
    case = composite_of(model_type)
    loaded = case.engine._model.envoy._module
    for pair in case.token_pairs:
        inputs = {"input_ids": torch.tensor([pair.clean]), "use_cache": False}
        with torch.no_grad():
            assert torch.equal(loaded(**inputs).logits, case.model.model(**inputs).logits)


@pytest.mark.parametrize("model_type", COMPOSITES)
def test_scores_and_effects_equal_hooks_on_the_whole_model(
    composite_of: CompositeOf, model_type: str
) -> None:
    """Every site of the text decoder, found by its record; and the model's own check passes."""
    case = composite_of(model_type)
    report = case.engine.check()
    assert report.passed, [check for check in report.checks if not check.passed]
    assert report.found_by == "record"
    results = case.engine.attribute(case.pairs, sites=case.sites, metric="logprob")
    for result, reference in zip(results, case.references("denoise"), strict=True):
        for site, expected in reference.scores("logprob").items():
            floor = ROUNDING if site in ("q", "k") else 0.0
            assert_close(result.scores["atp"][site], expected, 1e-4, site, floor)
    components = [Component(site, 1) for site in case.sites]
    [effects] = case.engine.patch(case.pairs[3:4], components)
    expected = case.references("denoise")[3].effects(components, ["logit_diff"])["logit_diff"]
    assert_close(effects, expected, 1e-4, "effects")


@pytest.mark.parametrize("model_type", COMPOSITES)
def test_nothing_but_the_text_decoder_is_loaded(composite_of: CompositeOf, model_type: str) -> None:
    """No weight of a tower, a projector or a block that attends to pictures."""
    names = [name for name, _ in composite_of(model_type).engine._model.envoy._module.named_parameters()]
    others = ("vis", "tower", "project", "audio", "cross_attn", "qformer", "query_tokens")
    assert names
    assert not [name for name in names if any(other in name.replace("_proj.", ".") for other in others)]


def test_weights_under_their_old_names_are_found(tmp_path: Path) -> None:
    """Checkpoints on the hub put the language model, head and all, below `language_model`."""
    whole = save_composite("llava", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert "language_model.model.norm.weight" in weights or "model.language_model.norm.weight" in weights
    old = {
        name.replace("model.language_model.", "language_model.model.").replace(
            "lm_head", "language_model.lm_head" if name.startswith("lm_head") else "lm_head"
        ): tensor
        for name, tensor in weights.items()
    }
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = Engine.load(str(tmp_path), device="cpu", dtype="float32")._model.envoy._module
    assert torch.equal(loaded.lm_head.weight, whole.lm_head.weight)
    with torch.no_grad():
        ids = torch.tensor([[3, 4, 5]])
        assert torch.equal(loaded(input_ids=ids).logits, whole(input_ids=ids).logits)


def test_a_text_decoder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A checkpoint of the tower alone has nothing to measure."""
    save_composite("llava", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    tower = {name: tensor for name, tensor in weights.items() if "language" not in name}
    save_file(tower, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks \d+ of the model's weights"):
        Engine.load(str(tmp_path))


def test_paligemma_reads_a_text_as_it_writes_its_answers() -> None:
    """Its own code attends both ways in a prompt: no token would be predicted from those before it."""
    model = composite_model("paligemma")
    assert model.config.get_text_config().use_bidirectional_attention is True
