"""Adapters that peft saved, and weights of fewer bits."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from patchgrid.core.errors import ModelError
from patchgrid.engine import Engine
from patchgrid.engine.checkpoint import adapters, files, quantised
from patchgrid.engine.model.shortcuts import Shortcuts
from support.engine.cases import Case, assert_close, tokenize
from support.engine.models import TestModel, save_model
from support.engine.prompts import PAIRS

#: peft asks transformers for what it is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def save_adapter(folder: Path, base: TestModel, config: Any) -> Path:
    """Save an adapter of random weights for a base model."""
    torch.manual_seed(1)
    fresh = AutoModelForCausalLM.from_pretrained(base.folder)
    adapted = get_peft_model(fresh, config)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> TestModel:
    """The model that adapters are for."""
    return save_model("llama", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: TestModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter with dropout, on what is measured and on the head."""
    parts = ["q_proj", "o_proj", "down_proj", "lm_head"]
    lora = LoraConfig(
        r=4, target_modules=parts, init_lora_weights=False, lora_dropout=0.2, task_type="CAUSAL_LM"
    )
    return save_adapter(tmp_path_factory.mktemp("adapter"), base, lora)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_s_scores_are_those_of_base_and_adapter(
    base: TestModel, adapter: Path, dtype: str
) -> None:
    """By hooks on the model as peft loads it; merged in float32, run beside the weights in bfloat16."""
    wrapped = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.folder), adapter).eval()
    wrapped.get_input_embeddings().requires_grad_(requires_grad=True)
    case = Case(
        TestModel("llama", base.folder, wrapped.get_base_model(), base.tokenizer),
        PAIRS,
        [tokenize(base, pair) for pair in PAIRS],
    )
    engine = Engine.load(str(adapter), device="cpu", dtype=dtype)
    merged = not any("lora" in name for name, _ in engine._model.envoy._module.named_parameters())
    assert (merged, engine.shortcuts.head) == (dtype == "float32", True)
    tolerance = 1e-4 if dtype == "float32" else 0.3
    for result, reference in zip(
        engine.attribute(PAIRS, sites=case.sites), case.references("denoise"), strict=True
    ):
        for site, expected in reference.scores("logit_diff").items():
            assert_close(result.scores["atp"][site], expected, tolerance, site)


def test_an_adapter_is_told_from_its_base_by_hashes(base: TestModel, adapter: Path) -> None:
    """The base's weights are part of what made the numbers."""
    plain, adapted = (Engine.load(str(folder), device="cpu").provenance for folder in (base.folder, adapter))
    assert plain.weights_hash != adapted.weights_hash
    assert plain.config_hash != adapted.config_hash


def test_an_adapter_without_peft_names_what_to_install(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line."""
    monkeypatch.setattr(adapters, "find_spec", lambda _package: None)
    with pytest.raises(ModelError, match=r"is an adapter for .*: pip install 'patchgrid\[peft\]'"):
        Engine.load(str(adapter))


def test_an_adapter_of_virtual_tokens_is_refused(base: TestModel, tmp_path: Path) -> None:
    """Its positions are not the prompt's."""
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ModelError, match=r"with virtual tokens \(PROMPT_TUNING\)"):
        Engine.load(str(save_adapter(tmp_path, base, config)))


@pytest.mark.parametrize("embedded", [False, True])
def test_an_adapter_in_pickle_form_is_refused(
    base: TestModel, adapter: Path, tmp_path: Path, embedded: bool
) -> None:
    """As base models are; also where it lies beside its base's own weights."""
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    if embedded:
        shutil.copytree(base.folder, folder, dirs_exist_ok=True)
    with pytest.raises(ModelError, match=r"is an adapter without adapter_model\.safetensors"):
        Engine.load(str(folder))


def test_an_adapter_of_the_hub_in_pickle_form_is_refused(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """peft itself would unpickle it: the hub's cache holds nothing else."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--some--adapter"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(adapter, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    (snapshot / "adapter_model.safetensors").rename(snapshot / "adapter_model.bin")
    found = partial(files.cached_file, cache_dir=tmp_path)
    monkeypatch.setattr(files, "cached_file", found)
    with pytest.raises(ModelError, match=r"some/adapter is an adapter without adapter_model\.safetensors"):
        adapters.find_adapter("some/adapter", None)


def test_an_adapter_that_does_not_fit_its_base_is_refused(
    base: TestModel, adapter: Path, tmp_path: Path
) -> None:
    """In one line, as weights are that do not fit their model."""
    folder = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"r": 2}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"cannot load the adapter .*adapter: "):
        Engine.load(str(folder))


@pytest.mark.parametrize(
    ("method", "pip"), [("gptq", "gptqmodel"), ("bitsandbytes", r"patchgrid\[quantised\]"), ("hqq", "hqq")]
)
def test_quantised_weights_name_the_package_that_is_missing(
    base: TestModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, pip: str
) -> None:
    """One line, before anything is read."""
    folder = Path(shutil.copytree(base.folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": method, "bits": 4, "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(quantised, "find_spec", lambda package: package == "accelerate" or None)
    with pytest.raises(ModelError, match=rf"is quantised \({method}\), .*: pip install '{pip}'$"):
        Engine.load(str(folder))


def test_plain_weights_are_not_taken_for_quantised(base: TestModel) -> None:
    """Nothing is asked of them."""
    assert quantised.quantisation("x", AutoConfig.from_pretrained(base.folder)) is None


@pytest.mark.filterwarnings("ignore")
def test_eight_bit_weights_are_measured_as_they_are(base: TestModel, tmp_path: Path) -> None:
    """By hooks on the same quantised model; where bitsandbytes is installed.

    Activations are rounded to 8 bits, too: only the very same arithmetic, pair by pair, gives the same.
    """
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(load_in_8bit=True)
    made = AutoModelForCausalLM.from_pretrained(
        base.folder, quantization_config=settings, device_map={"": "cpu"}
    )
    made.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, device_map={"": "cpu"}).eval()
    model.get_input_embeddings().requires_grad_(requires_grad=True)
    engine = Engine.load(str(tmp_path), device="cpu").with_shortcuts(Shortcuts.none())
    assert type(engine.layout.blocks[0].projection._module).__name__ == "Linear8bitLt"
    answers = [tokenize(base, pair) for pair in PAIRS]
    case = Case(TestModel("llama", tmp_path, model, base.tokenizer), PAIRS, answers)
    for pair, reference in zip(PAIRS, case.references("denoise"), strict=True):
        [result] = engine.attribute([pair])
        expected = reference.scores("logit_diff")
        for site, scores in result.scores["atp"].items():
            assert_close(scores, expected[site], 1e-3, site)
