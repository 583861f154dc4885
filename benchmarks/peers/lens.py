"""TransformerLens 4.3's `attribution_patch`: heads and MLPs by position.

It works through a batch one pair at a time and gives the mean; it is given one pair a call, so that each
pair's scores can be compared. patchgrid computes two more sites in its time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.common.floor import Floor, Tokens, tokenize
from benchmarks.common.ours import SITES
from patchgrid.engine import Engine, Pair

NAME = "TransformerLens attribution_patch"
HELP = "TransformerLens: pip install -c constraints.txt '.[model,peers]'"


class Lens:
    """A model booted by TransformerLens from the same weights."""

    def __init__(self, folder: str) -> None:
        from transformer_lens.model_bridge import TransformerBridge
        from transformer_lens.tools.analysis import attribution_patch

        floor = Floor.load(folder)
        floor.model.requires_grad_(requires_grad=True)  # it finds no gradient in a frozen model
        self._tokenizer, self._attribute = floor.tokenizer, attribution_patch
        self._bridge = TransformerBridge.boot_transformers(
            folder, hf_model=floor.model, tokenizer=floor.tokenizer
        )
        self._bridge.eval()
        self._layers, self._heads = floor.model.config.n_layer, floor.model.config.n_head

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return all scores of all pairs, one after another: heads, then MLPs."""
        return np.concatenate([self._pair(tokenize(self._tokenizer, pair, 0)) for pair in pairs])

    def _pair(self, tokens: Tokens) -> np.ndarray:
        def metric(logits: torch.Tensor) -> torch.Tensor:
            return sum(weight * logits[0, -1, answer] for answer, weight in tokens.weights.items())

        clean, corrupted = (torch.tensor([ids]) for ids in (tokens.clean, tokens.corrupted))
        found = self._attribute(self._bridge, clean, corrupted, metric)
        return self._in_order(found.node_scores, len(tokens.clean))

    def _in_order(self, scores: dict[Any, float], length: int) -> np.ndarray:
        heads = np.full((self._layers, length, self._heads), np.nan)
        mlps = np.full((self._layers, length), np.nan)
        for node, score in scores.items():
            if node.kind == "attn_head_out":
                heads[node.layer, node.position, node.head] = score
            elif node.kind == "mlp_out":
                mlps[node.layer, node.position] = score
        return np.append(heads, mlps)


def ours(engine: Engine, pairs: Sequence[Pair]) -> np.ndarray:
    """Return the same, from patchgrid."""
    results = engine.attribute(pairs, sites=SITES)
    return np.concatenate([each.scores["atp"][site].ravel() for each in results for site in ("z", "mlp_out")])
