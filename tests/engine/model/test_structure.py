"""Models without a record: found by running them, or refused with what is missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from patchgrid.core.errors import ModelError
from patchgrid.engine import Engine
from patchgrid.engine.model import families, structure
from patchgrid.engine.model.families import FAMILIES
from support.engine.cases import Case, assert_close
from support.engine.models import EVERY, PARALLEL
from support.engine.vocabulary import VOCABULARY, build_tokenizer

CaseOf = Callable[[str], Case]


def save(folder: Path, model_type: str, **changes: Any) -> str:
    """Save a tiny model of a type; give its folder."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokens = {"vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(model_type, **(sizes | tokens | {"num_key_value_heads": 2} | changes))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", EVERY)
def test_the_search_finds_what_the_record_says(case_of: CaseOf, family: str) -> None:
    """The same parts under the same or other names; scaled ones and sums of several are beyond it."""
    model = case_of(family).model.model
    known = FAMILIES[model.config.model_type]
    if known.scale is not None:
        with pytest.raises(ModelError, match=r"do not add up"):
            structure._search(model)
        return
    found = structure._search(model)
    assert (found.layers, found.attn_out, found.outputs) == (known.layers, known.attn_out, known.outputs)
    assert found.mlp_out == known.mlp_out
    if family != "bitnet":  # its z is read before a norm that the search takes for a part of attention
        assert (found.projection, found.leads) == (known.projection, known.leads)
    assert found.parallel == (family in PARALLEL)


@pytest.mark.parametrize("family", ["bloom", "cohere", "deepseek_v3", "glm4", "gpt_neo", "mpt"])
def test_a_model_found_by_structure_has_the_record_s_numbers(
    case_of: CaseOf, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record taken away, the scores are the same."""
    case = case_of(family)
    others = {name: record for name, record in FAMILIES.items() if name != family}
    monkeypatch.setattr(structure, "FAMILIES", others)
    monkeypatch.setattr("patchgrid.engine.modelcheck.FAMILIES", others)
    engine = Engine.load(str(case.model.folder), device="cpu", dtype="float32")
    assert engine.check().found_by == "structure"
    for found, expected in zip(engine.attribute(case.pairs), case.engine.attribute(case.pairs), strict=True):
        for site, scores in expected.scores["atp"].items():
            assert_close(found.scores["atp"][site], scores, 1e-5, site)


def test_a_model_without_attention_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    """A state-space model has no heads to measure; the page names the types that have."""
    folder = save(tmp_path, "mamba", state_size=4)
    with pytest.raises(
        ModelError, match=r"'mamba' is unknown, and it has no list of blocks.*docs/models\.md$"
    ):
        Engine.load(folder)


def test_a_hybrid_is_refused_with_the_blocks_that_lack_attention(tmp_path: Path) -> None:
    """Jamba's blocks are state-space layers but for every fourth."""
    folder = save(tmp_path, "jamba", mamba_d_state=4, num_experts=2, attn_layer_period=2, attn_layer_offset=1)
    with pytest.raises(ModelError, match=r"block 0 of model\.layers has none: JambaMamba"):
        Engine.load(folder)


def test_a_stream_that_is_normed_between_the_parts_is_refused(tmp_path: Path) -> None:
    """The first GPT norms the sum: nothing is added to a stream."""
    with pytest.raises(ModelError, match=r"'openai-gpt' is unknown.*multiplies or norms"):
        Engine.load(save(tmp_path, "openai-gpt"))


@pytest.mark.parametrize(("model_type", "reason"), structure.REFUSED.items())
def test_types_that_would_be_mistaken_are_refused_by_name(
    tmp_path: Path, model_type: str, reason: str
) -> None:
    """With the reason."""
    with pytest.raises(ModelError, match=reason[:40]):
        Engine.load(save(tmp_path, model_type))


def test_a_known_type_whose_code_has_changed_is_refused(
    case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that no longer fits names the module that is gone."""
    model = case_of("llama").model.model
    gone = replace(FAMILIES["llama"], mlp_out="feedforward")
    assert families.missing_part(model, gone) == "model.layers[0].feedforward"
    monkeypatch.setattr(structure, "FAMILIES", {"llama": gone})
    with pytest.raises(ModelError, match=r"no model\.layers\[0\]\.feedforward"):
        structure.find_family(model)
