"""One pair at a time through nnsight: a careful notebook for a GPT-2.

Two forwards and one backward a pair, all four node sites by position, weights frozen.
"""

from collections.abc import Sequence
from typing import Any

import nnsight
import numpy as np
import torch
from floor import Floor, Tokens, tokenize
from nnsight import TransformersModel
from ours import SITES
from torch import Tensor

from patchgrid.engine import Engine, Pair

NAME = "nnsight, one pair at a time"


class Notebook:
    """A GPT-2 wrapped by nnsight."""

    def __init__(self, folder: str) -> None:
        floor = Floor.load(folder)
        self._tokenizer, self._config = floor.tokenizer, floor.model.config
        self._model = TransformersModel(floor.model, tokenizer=floor.tokenizer, task="text-generation")

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Give all scores of all pairs, one after another."""
        return np.concatenate([self._pair(tokenize(self._tokenizer, pair, 0)) for pair in pairs])

    def _pair(self, tokens: Tokens) -> np.ndarray:
        with torch.no_grad():
            clean, _ = self._run(tokens.clean)
        corrupted, logits = self._run(tokens.corrupted)
        metric = sum(weight * logits[0, -1, answer] for answer, weight in tokens.weights.items())
        gradients = torch.autograd.grad(metric, corrupted)
        products = [
            (gradient * (to - base))[0].detach()
            for gradient, to, base in zip(gradients, clean, corrupted, strict=True)
        ]
        return np.concatenate([self._sum(products[at :: len(SITES)], site) for at, site in enumerate(SITES)])

    def _run(self, ids: list[int]) -> tuple[list[Tensor], Tensor]:
        """Run one prompt; give the sites of each layer in the order of `SITES`, and the logits."""
        kept: Any = []
        with self._model.trace(torch.tensor([ids]), use_cache=False, logits_to_keep=1):
            if torch.is_grad_enabled():
                self._model.transformer.wte.output.requires_grad_(True)
            for block in self._model.transformer.h:
                z = block.attn.c_proj.input
                attn_out = block.attn.output[0]
                mlp_out = block.mlp.output
                kept += [block.output, attn_out, mlp_out, z]
            kept.append(self._model.output.logits)
            kept = nnsight.save(kept)
        return kept[:-1], kept[-1]

    def _sum(self, products: list[Tensor], site: str) -> np.ndarray:
        stacked = torch.stack(products)  # [layer, position, width]
        if site == "z":
            stacked = stacked.unflatten(-1, (self._config.n_head, -1))
        return stacked.sum(-1).numpy().ravel()


def ours(engine: Engine, pairs: Sequence[Pair]) -> np.ndarray:
    """Give the same from patchgrid."""
    results = engine.attribute(pairs, sites=SITES)
    return np.concatenate([each.scores[site].ravel() for each in results for site in SITES])
