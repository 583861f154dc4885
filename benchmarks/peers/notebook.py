"""One pair at a time through nnsight, for a GPT-2: a notebook as tutorials have it, and a careful one.

Two forwards and one backward a pair, all four node sites by position. The careful one freezes the weights
and asks for the last position's logits only; the other takes a model as it is loaded.
"""

from collections.abc import Sequence
from typing import Any

import nnsight
import numpy as np
import torch
from nnsight import TransformersModel
from torch import Tensor

from benchmarks.common.floor import Floor, Tokens, tokenize
from benchmarks.common.ours import SITES
from patchgrid.engine import Engine, Pair

NAME, CAREFUL = "nnsight, one pair at a time", "the same, weights frozen, last logits only"


class Notebook:
    """A GPT-2 wrapped by nnsight."""

    def __init__(self, folder: str, *, careful: bool) -> None:
        floor = Floor.load(folder)
        floor.model.requires_grad_(not careful)
        self._logits = {"logits_to_keep": 1, "use_cache": False} if careful else {}
        self._weights = [] if careful else list(floor.model.parameters())
        self._tokenizer, self._config = floor.tokenizer, floor.model.config
        self._model = TransformersModel(floor.model, tokenizer=floor.tokenizer, task="text-generation")

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return all scores of all pairs, one after another."""
        return np.concatenate([self._pair(tokenize(self._tokenizer, pair, 0)) for pair in pairs])

    def _pair(self, tokens: Tokens) -> np.ndarray:
        with torch.no_grad():
            clean, _ = self._run(tokens.clean)
        corrupted, logits = self._run(tokens.corrupted)
        metric = sum(weight * logits[0, -1, answer] for answer, weight in tokens.weights.items())
        # `metric.backward()` goes down to all weights that are not frozen.
        gradients = torch.autograd.grad(metric, [*corrupted, *self._weights])[: len(corrupted)]
        products = [
            (gradient * (to - base))[0].detach()
            for gradient, to, base in zip(gradients, clean, corrupted, strict=True)
        ]
        return np.concatenate([self._sum(products[at :: len(SITES)], site) for at, site in enumerate(SITES)])

    def _run(self, ids: list[int]) -> tuple[list[Tensor], Tensor]:
        """Run one prompt; give the sites of each layer in the order of `SITES`, and the logits."""
        kept: Any = []
        with self._model.trace(torch.tensor([ids]), **self._logits):
            if torch.is_grad_enabled() and not self._weights:
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
    """Return the same, from patchgrid."""
    results = engine.attribute(pairs, sites=SITES)
    return np.concatenate([each.scores["atp"][site].ravel() for each in results for site in SITES])
