"""The rounding floor: as large as the errors of effects, and it changes none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from patchgrid.engine import Component, Engine, Pair, engine
from reference.patching import TokenPair
from reference.rounding import effects, rounded
from support.engine.models import save_confident_model
from support.engine.prompts import PAIRS

SITES = ("attn_out", "mlp_out", "resid_post", "z")
PROMPTS = PAIRS[0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("family", ["gpt2", "granite", "gemma2"])
def test_the_floor_is_as_large_as_the_error_of_effects(
    family: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root mean squares, within a factor of five, of hooks in float64 or, on 16-bit weights, in float32."""
    monkeypatch.setattr(engine, "_ROUNDING_EVERY", 1)
    made = save_confident_model(family, tmp_path, PROMPTS.clean)
    exact = made.double().model if dtype == "float32" else rounded(made.folder, torch.bfloat16)[1]
    loaded = Engine.load(str(made.folder), dtype=dtype)
    layers, heads = loaded.layout.n_layers, loaded.layout.n_heads
    components = [Component(site, layer) for site in SITES[:3] for layer in range(layers)]
    components += [Component("z", layer, head) for layer in range(layers) for head in range(heads)]
    ids = TokenPair(
        *(made.tokenizer(text).input_ids for text in (PROMPTS.clean, PROMPTS.corrupted)), [7], [9]
    )
    expected = effects(exact, [ids], components, ["logit_diff"])["logit_diff"][0]
    pair = Pair(PROMPTS.clean, PROMPTS.corrupted, 7, 9)
    [found] = loaded.measure([pair], lambda *_: [components], sites=SITES)
    error = float(np.sqrt(np.square(found.effects - expected).mean()))
    floor = float(np.sqrt(np.square(found.rounding).mean()))
    assert len(found.rounding) > len(components) / 2
    assert error / 5 < floor < error * 5


def test_measuring_the_floor_changes_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copies run beside the others; `patch`, which nobody asks for it, makes none."""
    made = save_confident_model("llama", tmp_path, PROMPTS.clean)
    loaded = Engine.load(str(made.folder), dtype="float32")
    components = [Component(site, layer) for site in SITES for layer in range(loaded.layout.n_layers)]
    monkeypatch.setattr(engine, "_ROUNDING_EVERY", 2)
    [found] = loaded.measure([PROMPTS], lambda *_: [components], sites=SITES)
    [expected] = loaded.patch([PROMPTS], components)
    np.testing.assert_allclose(found.effects, expected, atol=1e-5)
    assert 0 < len(found.rounding) <= (len(components) + 1) / 2
