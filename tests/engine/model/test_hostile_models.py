"""Model folders made by strangers: whatever they hold ends in one line, and nothing of theirs is run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from patchgrid.core.errors import ModelError
from patchgrid.engine import Engine
from patchgrid.engine.model.configuration import load_config, read_config
from support.engine.models import save_model

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that loads."""
    return save_model("gpt2", tmp_path_factory.mktemp("whole")).folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def change(folder: Path, file: str, **values: Any) -> None:
    """Set values in one of the folder's JSON files."""
    document = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(document | values), encoding="utf-8")


def index(folder: Path, text: str) -> None:
    """Write an index of weights in several files into the folder."""
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "file",
    [
        *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("added_tokens.json", "generation_config.json"),
    ],
)
def test_a_deeply_nested_file_is_named(folder: Path, file: str) -> None:
    """Python's JSON reader gives up with a RecursionError."""
    (folder / file).write_text(DEEP, encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{file} is nested too deeply"):
        Engine.load(str(folder))


def test_a_deeply_nested_index_or_adapter_is_named(folder: Path) -> None:
    """They are read before any weight is."""
    index(folder, DEEP)
    with pytest.raises(ModelError, match=r"index\.json is nested too deeply"):
        Engine.load(str(folder))
    for path in folder.iterdir():
        path.unlink()
    (folder / "adapter_config.json").write_text(DEEP, encoding="utf-8")
    (folder / "adapter_model.safetensors").touch()
    with pytest.raises(ModelError, match=r"adapter_config\.json is nested too deeply"):
        Engine.load(str(folder))


@pytest.mark.parametrize("text", ["[1]", "3", "{", '"text"', "\udcff"])
@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_a_configuration_that_is_no_json_object_is_named(folder: Path, file: str, text: str) -> None:
    """Valid JSON or not."""
    if file == "adapter_config.json":
        (folder / "config.json").unlink()
        (folder / "adapter_model.safetensors").touch()
    (folder / file).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=rf"{file} (is not valid JSON|holds a)"):
        Engine.load(str(folder))


@pytest.mark.parametrize("base", [None, 3, "", ["gpt2"]])
def test_an_adapter_of_no_base_is_told(folder: Path, base: object) -> None:
    """And is not looked for on the hub."""
    (folder / "config.json").unlink()
    (folder / "adapter_model.safetensors").touch()
    text = json.dumps({"base_model_name_or_path": base, "peft_type": "LORA"})
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="does not name the base model"):
        Engine.load(str(folder))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "../other.safetensors", "/etc/passwd", 3])
def test_an_index_that_leads_elsewhere_is_refused(folder: Path, file: object) -> None:
    """transformers would unpickle what an index names, wherever it is."""
    index(folder, json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": file}}))
    with pytest.raises(ModelError, match="is not a safetensors file beside it"):
        Engine.load(str(folder))


def test_an_index_without_weights_is_told(folder: Path) -> None:
    """Instead of a KeyError."""
    index(folder, "{}")
    with pytest.raises(ModelError, match="has no weight_map"):
        Engine.load(str(folder))


def test_weights_that_a_configuration_names_are_safetensors(folder: Path) -> None:
    """transformers takes this one pickle by name."""
    change(folder, "config.json", transformers_weights="adapter_model.bin")
    with pytest.raises(ModelError, match=r"names 'adapter_model\.bin' as its weights"):
        Engine.load(str(folder))


@pytest.mark.parametrize("name", ["num_hidden_layers", "n_layer", "num_experts", "num_attention_heads"])
def test_counts_that_no_model_has_are_refused_before_anything_is_made(folder: Path, name: str) -> None:
    """A list of a billion layers would fill the memory."""
    change(folder, "config.json", text_config={name: 10**9})
    with pytest.raises(ModelError, match=rf"{name} is 1,000,000,000, more than any model has"):
        load_config(str(folder), None)


@pytest.mark.parametrize("values", [{"n_head": 0}, {"n_embd": 1e308}, {"n_layer": "two"}, {"n_embd": 10**9}])
def test_sizes_that_make_no_model_end_in_one_line(folder: Path, values: dict[str, Any]) -> None:
    """Whatever arithmetic they break."""
    change(folder, "config.json", **values)
    with pytest.raises(ModelError, match="cannot load") as refused:
        Engine.load(str(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_the_code_that_computes_attention_is_no_choice_of_the_folder_s(folder: Path, name: str) -> None:
    """`org/kernel` would be fetched from the hub, compiled code and all."""
    change(folder, "config.json", **{name: "org/kernel"})
    model = Engine.load(str(folder), device="cpu")._model.envoy._module
    assert model.config._attn_implementation == "patchgrid_sdpa"


def test_parts_of_a_configuration_have_no_choice_either(tmp_path: Path) -> None:
    """The text decoder's own settings are its text configuration's."""
    config = AutoConfig.for_model("llava").to_dict()
    config["attn_implementation"] = "org/kernel"
    config["text_config"]["attn_implementation"] = "org/kernel"
    (tmp_path / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
    found = load_config(str(tmp_path), None)
    assert found._attn_implementation is None
    assert found.text_config._attn_implementation is None


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("t5", "encoder-decoder"),
        ("bart", "encoder-decoder"),
        ("whisper", "encoder-decoder"),
        ("florence2", "encoder-decoder"),
        ("bert", "encoder-only"),
        ("modernbert", "encoder-only"),
        ("vit", "not a language model"),
        ("clip", "not a language model"),
    ],
)
def test_models_without_a_next_token_are_refused_in_our_own_words(
    tmp_path: Path, model_type: str, said: str
) -> None:
    """With what would work, and no list of hundreds."""
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=rf"{said}.*text decoders of vision-language models.*docs/models\.md"
    ) as refused:
        load_config(str(tmp_path), None)
    assert model_type in str(refused.value)
    assert len(str(refused.value)) < 300 + len(str(tmp_path))


def test_a_text_encoder_made_of_a_decoder_s_code_is_refused(tmp_path: Path) -> None:
    """EmbeddingGemma attends to later tokens, too."""
    AutoConfig.for_model("gemma3_text", use_bidirectional_attention=True).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="encoder-only"):
        load_config(str(tmp_path), None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "lama"}, r"unknown model type 'lama'; did you mean 'llama'\? See docs/models\.md"),
        (
            {"model_type": "made_up_7"},
            r"unknown model type 'made_up_7'; a transformers newer than .* may support it",
        ),
        ({"model_type": 3}, "unknown model type 3"),
        ({"model_type": "x", "auto_map": {"AutoModel": "code.M"}}, "needs Python code from its repository"),
        ({}, "has no model_type"),
    ],
)
def test_an_unknown_type_is_told_with_the_nearest_known(
    folder: Path, settings: dict[str, Any], said: str
) -> None:
    """And not with all of them."""
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ModelError, match=said) as refused:
        Engine.load(str(folder))
    assert "deberta" not in str(refused.value)


def test_a_tokenizer_that_is_broken_within_is_told(folder: Path) -> None:
    """tokenizers raises a bare Exception."""
    change(folder, "tokenizer.json", model=None)
    with pytest.raises(ModelError, match="cannot load the tokenizer of"):
        Engine.load(str(folder))


def test_a_model_that_is_not_found_on_the_hub_may_be_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said to be no model."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"cannot find nobody/nothing: .* the hub cannot be reached"):
        read_config("nobody/nothing", None)
