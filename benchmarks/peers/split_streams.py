"""Edge attribution of a GPT-2 the published way (EAP-IG, arXiv 2403.17806), in plain PyTorch.

Every head's query, key and value read a copy of the residual stream of their own, and what all senders add
more is held in one buffer `[pair, position, sender, d_model]`, which each reader's gradient is multiplied
with when the backward pass comes to it. The gradients are the clean run's, the differences corrupted minus
clean: patchgrid's `noise`. Scores are summed over positions and averaged over pairs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from benchmarks.common.floor import Batch, Floor, make_batch, tokenize
from patchgrid.core.graph import Graph
from patchgrid.engine import Engine, Pair

NAME = "a copy of the stream a head"
#: Pairs a batch, as EAP-IG's own notebooks have.
_BATCH = 20


class SplitStreams:
    """A GPT-2 whose heads each read a stream of their own."""

    def __init__(self, folder: str) -> None:
        self._floor = Floor.load(folder)
        self._model: Any = self._floor.model.transformer
        config = self._floor.model.config
        self._heads, self._eps = config.n_head, config.layer_norm_epsilon
        self.graph = Graph(config.n_layer, config.n_head, config.n_head)

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return the mean over pairs of every edge's score, in the order of `Graph`."""
        total = torch.zeros(self.graph.count)
        tokens = [tokenize(self._floor.tokenizer, pair, place) for place, pair in enumerate(pairs)]
        for at in range(0, len(tokens), _BATCH):
            total += self._batch(make_batch(tokens[at : at + _BATCH], torch.device("cpu")))
        return (total / len(pairs)).numpy()

    def _batch(self, batch: Batch) -> Tensor:
        shape = (*batch.clean.shape, len(self.graph.senders), self._floor.model.config.n_embd)
        changes, scores = torch.zeros(shape), torch.zeros(self.graph.count)
        with torch.no_grad():
            self._forward(batch, batch.corrupted, changes, 1, None)
        embedded = self._forward(batch, batch.clean, changes, -1, scores)
        logits = self._floor.model.lm_head(embedded[:, -1])
        (logits.gather(1, batch.answers) * batch.weights).sum().backward()
        return scores

    def _forward(
        self, batch: Batch, tokens: Tensor, changes: Tensor, sign: int, scores: Tensor | None
    ) -> Tensor:
        """Run tokens; add what senders give to the buffer; where scores are given, note the gradients."""
        model = self._model
        stream = model.wte(tokens) + model.wpe(batch.position_ids)
        if scores is not None:
            stream.requires_grad_(requires_grad=True)
        width = tokens.shape[1]
        seen = torch.ones(width, width, dtype=torch.bool).tril() & batch.attention_mask.bool()[:, None, :]
        changes[:, :, 0] += sign * stream.detach()
        for layer, block in enumerate(model.h):
            sender = 1 + layer * (self._heads + 1)
            added = self._attention(block, stream, seen, changes, scores, layer)
            changes[:, :, sender : sender + self._heads] += sign * added.detach()
            stream = stream + added.sum(2) + block.attn.c_proj.bias
            own = self._read(stream[:, :, None], changes, scores, (layer + 1) * self._per_layer - 1)[:, :, 0]
            of_mlp = block.mlp(block.ln_2(own))
            changes[:, :, sender + self._heads] += sign * of_mlp.detach()
            stream = stream + of_mlp
        last = self._read(stream[:, :, None], changes, scores, len(self.graph.readers) - 1)[:, :, 0]
        return model.ln_f(last)

    @property
    def _per_layer(self) -> int:
        return 3 * self._heads + 1

    def _read(self, streams: Tensor, changes: Tensor, scores: Tensor | None, reader: int) -> Tensor:
        """Have readers, from this number on, read copies `[pair, position, reader, d_model]` of a stream."""
        own = streams.clone()
        if scores is None:
            return own
        count, reads, begin = own.shape[2], self.graph.reads[reader], self.graph.offsets[reader]

        def multiply(gradient: Tensor) -> None:
            found = torch.einsum("bpsd,bprd->rs", changes[:, :, :reads], gradient)
            scores[begin : begin + count * reads] += found.flatten()

        own.register_hook(multiply)
        return own

    def _attention(
        self,
        block: Any,
        stream: Tensor,
        seen: Tensor,
        changes: Tensor,
        scores: Tensor | None,
        layer: int,
    ) -> Tensor:
        """Return each head's output, `[pair, position, head, d_model]`."""
        heads = self._heads
        copies = stream[:, :, None].expand(-1, -1, heads, -1)
        weights = block.attn.c_attn.weight.unflatten(1, (3, heads, -1))
        biases = block.attn.c_attn.bias.unflatten(0, (3, heads, -1))
        inner = []
        for part in range(3):
            own = self._read(copies, changes, scores, layer * self._per_layer + part * heads)
            normed = layer_norm(own, own.shape[-1:], block.ln_1.weight, block.ln_1.bias, self._eps)
            inner.append(torch.einsum("bphd,dhk->bphk", normed, weights[:, part]) + biases[part])
        query, key, value = inner
        match = torch.einsum("bqhk,bphk->bhqp", query, key) / query.shape[-1] ** 0.5
        pattern = match.masked_fill(~seen[:, None], -1e9).softmax(-1)
        z = torch.einsum("bhqp,bphk->bqhk", pattern, value)
        return torch.einsum("bqhk,hkd->bqhd", z, block.attn.c_proj.weight.unflatten(0, (heads, -1)))


def ours(engine: Engine, pairs: Sequence[Pair], *, prepend_bos: bool | None = None) -> np.ndarray:
    """Return the same, from patchgrid."""
    results = engine.attribute(
        pairs,
        sites=("edge",),
        method="eap",
        direction="noise",
        keep_positions=False,
        prepend_bos=prepend_bos,
    )
    return np.mean([each.scores["eap"]["edge"] for each in results], axis=0)
