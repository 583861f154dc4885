"""Scores against TransformerLens's on the same weights; run where the `peers` extra is installed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchgrid.core.names import DIRECTIONS
from reference.patching import TokenPair
from support.engine.cases import Case, assert_close

pytest.importorskip("transformer_lens.model_bridge", reason="the extra `peers` is not installed")
# Others' code warns of what is none of ours.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", ["gpt2", "demo_model"])
def test_heads_mlps_and_embeddings_agree_with_transformerlens(
    case_of: Callable[[str], Case], family: str, direction: str
) -> None:
    """By `atp`, and by `atp*`, which leaves these sites as they are; pair by pair, at every position."""
    case = case_of(family)
    peer = _Lens(case)
    results = case.engine.attribute(
        case.pairs, sites=("resid_pre", "z", "mlp_out"), method=("atp", "atp*"), direction=direction
    )
    for result, pair in zip(results, case.token_pairs, strict=True):
        expected = peer.scores(pair, direction)
        for scores in (result.scores["atp"], result.scores["atp*"]):
            assert_close(scores["resid_pre"][0], expected["embed"], 1e-4, "embed")
            assert_close(scores["z"], expected["attn_head_out"], 1e-4, "attn_head_out")
            assert_close(scores["mlp_out"], expected["mlp_out"], 1e-4, "mlp_out")


class _Lens:
    """A model booted by TransformerLens from a case's weights."""

    def __init__(self, case: Case) -> None:
        from transformer_lens.model_bridge import TransformerBridge
        from transformer_lens.tools.analysis import attribution_patch

        folder = str(case.model.folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self._attribute = attribution_patch
        self._bridge = TransformerBridge.boot_transformers(
            folder, hf_model=model, tokenizer=AutoTokenizer.from_pretrained(folder)
        )
        self._bridge.eval()
        self._shape = case.layers, case.heads

    def scores(self, pair: TokenPair, direction: str) -> dict[str, Any]:
        """Return scores by kind: `[position]`, `[layer, position, head]`, `[layer, position]`."""

        def metric(logits: Tensor) -> Tensor:
            return logits[0, -1, pair.correct].mean() - logits[0, -1, pair.incorrect].mean()

        prompts = [torch.tensor([ids]) for ids in (pair.clean, pair.corrupted)]
        # The gradient is that of the second prompt's run.
        found = self._attribute(self._bridge, *prompts[:: 1 if direction == "denoise" else -1], metric)
        (layers, heads), length = self._shape, len(pair.clean)
        scores = {
            "embed": np.full(length, np.nan),
            "attn_head_out": np.full((layers, length, heads), np.nan),
            "mlp_out": np.full((layers, length), np.nan),
        }
        for node, score in found.node_scores.items():
            place = [each for each in (node.layer, node.position, node.head) if each is not None]
            scores[node.kind][tuple(place)] = score
        return scores
