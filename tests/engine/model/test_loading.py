"""What a model folder must have, and how one that lacks it is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from patchgrid.core.errors import ModelError, SpecError
from patchgrid.engine import Component, Engine
from support.engine.cases import Case, assert_close
from support.engine.models import save_model
from support.engine.prompts import PAIRS

CaseOf = Callable[[str], Case]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that loads."""
    return save_model("gpt2", tmp_path_factory.mktemp("whole")).folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def test_a_whole_folder_loads_with_its_sizes_and_its_provenance(whole: Path) -> None:
    """Layers, heads, sites, hashes and versions are known after loading."""
    engine = Engine.load(str(whole), device="cpu")
    assert (engine.layout.n_layers, engine.layout.n_heads, engine.layout.head_dim) == (3, 4, 8)
    assert engine.self_check.error <= engine.self_check.allowed
    assert len(engine.provenance.weights_hash) == 64
    assert engine.provenance.dtype == "float32"
    assert set(engine.provenance.versions) == {"patchgrid", "torch", "transformers", "nnsight"}


def test_other_weights_have_another_hash_and_the_same_configuration_the_same(
    folder: Path, whole: Path
) -> None:
    """The hash of the weights tells two checkpoints of one architecture apart."""
    weights = load_file(folder / "model.safetensors")
    name = min(weights)
    save_file(weights | {name: weights[name] + 1}, folder / "model.safetensors", metadata={"format": "pt"})
    changed, original = Engine.load(str(folder)).provenance, Engine.load(str(whole)).provenance
    assert changed.weights_hash != original.weights_hash
    assert changed.config_hash == original.config_hash


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A path is not mistaken for a hub id."""
    with pytest.raises(ModelError, match="no model folder at"):
        Engine.load(str(tmp_path / "absent"))


def test_a_folder_without_configuration_is_refused(folder: Path) -> None:
    """The message names the file."""
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        Engine.load(str(folder))


def test_a_broken_configuration_is_refused(folder: Path) -> None:
    """The message says what is wrong with it."""
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="not valid JSON"):
        Engine.load(str(folder))


def test_a_folder_without_tokenizer_is_refused(folder: Path) -> None:
    """The message says what to put beside the weights."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"no tokenizer: put the model's tokenizer\.json"):
        Engine.load(str(folder))


def test_pickle_weights_are_refused_and_never_read(folder: Path) -> None:
    """The pickle would write a file if anything loaded it."""
    trace = folder / "was-read"
    (folder / "model.safetensors").unlink()
    torch.save({"x": _Bomb(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle weights only"):
        Engine.load(str(folder))
    assert not trace.exists()


class _Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.trace,)


def test_a_folder_without_any_weights_is_refused(folder: Path) -> None:
    """The message says which files are looked for."""
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weights: no \*\.safetensors"):
        Engine.load(str(folder))


def test_truncated_weights_are_refused(folder: Path) -> None:
    """A download that broke off ends in one line."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelError, match="cannot load"):
        Engine.load(str(folder))


def test_missing_weights_are_refused_and_never_made_up(folder: Path) -> None:
    """Transformers would fill them with random numbers."""
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 of the model's weights, such as transformer\.h\.1\.mlp\.c_fc"):
        Engine.load(str(folder))


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    """A configuration that points at its own code is refused."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "made_up",
        "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "code.py").write_text("raise SystemExit('was run')", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot load"):
        Engine.load(str(folder))


def test_weights_that_are_not_numbers_are_refused_as_such(folder: Path) -> None:
    """Not as an architecture that is not understood."""
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="block 1 outputs NaN or inf"):
        Engine.load(str(folder))


def test_a_device_that_is_not_there_is_refused(whole: Path) -> None:
    """The reason is the one torch gives."""
    with pytest.raises(SpecError, match="device 'cuda:99' is not available"):
        Engine.load(str(whole), device="cuda:99")
    with pytest.raises(SpecError, match="device 'gpu' is not available"):
        Engine.load(str(whole), device="gpu")


def test_an_unknown_number_type_is_refused_with_the_nearest(whole: Path) -> None:
    """bfloat16 is what bflot16 was meant to be."""
    with pytest.raises(SpecError, match="did you mean 'bfloat16'") as refused:
        Engine.load(str(whole), dtype="bflot16")
    assert refused.value.field == "dtype"


def test_half_precision_gives_scores_like_the_full_ones(whole: Path) -> None:
    """bfloat16 rounds logits to three digits: the scores of all pairs together keep their direction."""

    def scores(dtype: str) -> np.ndarray:
        results = Engine.load(str(whole), dtype=dtype).attribute(PAIRS, sites=["z", "resid_post"])
        return np.concatenate([array.ravel() for r in results for array in r.scores["atp"].values()])

    full, half = scores("float32"), scores("bfloat16")
    assert np.corrcoef(full, half)[0, 1] > 0.98


def test_a_model_spread_over_devices_gives_the_same_numbers(case_of: CaseOf) -> None:
    """Through accelerate's hooks; on a machine without GPUs all parts lie on its CPU."""
    case = case_of("gemma2")
    spread = Engine.load(str(case.model.folder), device="sharded", dtype="float32")
    components = [Component("z", 0, 1), Component("mlp_out", 1), Component("resid_mid", 2, position=-1)]
    assert_close(
        spread.patch(case.pairs, components), case.engine.patch(case.pairs, components), 1e-5, "effects"
    )
    for found, expected in zip(spread.attribute(case.pairs), case.engine.attribute(case.pairs), strict=True):
        for site, scores in expected.scores["atp"].items():
            assert_close(found.scores["atp"][site], scores, 1e-5, site)


def test_spreading_a_model_needs_accelerate(case_of: CaseOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is named, with what to install."""
    monkeypatch.setattr("patchgrid.engine.model.loading.is_accelerate_available", lambda: False)
    with pytest.raises(SpecError, match=r"pip install 'patchgrid\[sharded\]'"):
        Engine.load(str(case_of("gpt2").model.folder), device="sharded")
