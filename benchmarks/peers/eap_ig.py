"""EAP-IG's published scores of nodes and edges (arXiv 2403.17806) for a GPT-2, from a checkout of its code.

It runs on TransformerLens 2 or 3 (`HookedTransformer`). Its gradients are the clean run's and its differences
corrupted minus clean: patchgrid's `noise`, summed over positions and averaged over pairs. Its metric must be
summed over the batch, or its scores shrink with the batch's size. Heads and the embeddings are compared; its
MLP scores take the gradient at the MLP's input and are another quantity.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common.floor import Floor, Tokens, tokenize
from patchgrid.core.graph import Graph
from patchgrid.engine import Engine, Pair

NAME = "EAP-IG"
HELP = (
    "EAP-IG: grep -v transformer-lens constraints.txt > eap.txt; "
    "pip install -c eap.txt '.[model]' 'transformer-lens>=2.15,<4' matplotlib, in an environment of its own; "
    "then --eap-ig FOLDER, a checkout of its repository"
)
#: Prompts a batch, as its own notebooks have.
_BATCH = 20


class EapIg:
    """Its graph and its model, made of the same weights."""

    def __init__(self, folder: str, checkout: Path) -> None:
        sys.path.insert(0, str(checkout / "src"))
        from eap import attribute, attribute_node
        from eap.graph import Graph as TheirGraph

        floor = Floor.load(folder)
        self._tokenizer = floor.tokenizer
        self._model = hooked_transformer(floor.model, floor.tokenizer)
        self._graph = TheirGraph.from_model(self._model, node_scores=True)
        self._attribute, self._attribute_edges = attribute_node.attribute_node, attribute.attribute
        for module in (attribute, attribute_node, sys.modules["eap.utils"]):
            module.torch = _AnyDevice()

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return the means over pairs: the embeddings' score, then each head's."""
        self._attribute(self._model, self._graph, self._loader(pairs), _metric, "EAP", quiet=True)
        self._model.zero_grad()
        cfg = self._graph.cfg
        names = [
            "input",
            *(f"a{layer}.h{h}" for layer in range(cfg["n_layers"]) for h in range(cfg["n_heads"])),
        ]
        return np.array([float(self._graph.nodes[name].score) for name in names])

    def edges(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return every edge's mean over pairs, in the order of patchgrid's graph."""
        self._attribute_edges(self._model, self._graph, self._loader(pairs), _metric, "EAP", quiet=True)
        self._model.zero_grad()
        cfg = self._graph.cfg
        names = Graph(cfg["n_layers"], cfg["n_heads"], cfg["n_heads"]).names
        return np.array([float(self._graph.edges[name].score) for name in names])

    def _loader(self, pairs: Sequence[Pair]) -> list[tuple[list[str], list[str], list[Tokens]]]:
        tokens = [tokenize(self._tokenizer, pair, place) for place, pair in enumerate(pairs)]
        return [
            (
                [p.clean for p in pairs[at : at + _BATCH]],
                [p.corrupted for p in pairs[at : at + _BATCH]],
                tokens[at : at + _BATCH],
            )
            for at in range(0, len(pairs), _BATCH)
        ]


def ours(engine: Engine, pairs: Sequence[Pair]) -> np.ndarray:
    """Return the same, from patchgrid; EAP-IG puts a BOS before each prompt."""
    results = engine.attribute(
        pairs, sites=("resid_pre", "mlp_out", "z"), direction="noise", prepend_bos=True
    )
    rows = [
        np.append(each.scores["atp"]["resid_pre"][0].sum(), each.scores["atp"]["z"].sum(axis=1).ravel())
        for each in results
    ]
    return np.mean(rows, axis=0)


def hooked_transformer(model: Any, tokenizer: Any) -> Any:
    """Make a `HookedTransformer` of a GPT-2's weights, without the hub, set up as EAP-IG wants it."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    source = model.config
    cfg = HookedTransformerConfig(
        n_layers=source.n_layer,
        n_heads=source.n_head,
        d_model=source.n_embd,
        d_head=source.n_embd // source.n_head,
        d_mlp=source.n_inner or 4 * source.n_embd,
        d_vocab=source.vocab_size,
        n_ctx=source.n_positions,
        eps=source.layer_norm_epsilon,
        act_fn="gelu_new",
        normalization_type="LN",
        device="cpu",
        use_attn_result=True,
        use_split_qkv_input=True,
        use_hook_mlp_in=True,
    )
    hooked = HookedTransformer(cfg, tokenizer=tokenizer)
    hooked.load_state_dict(convert_gpt2_weights(model, cfg), strict=False)
    return hooked.eval()


def _metric(logits: Tensor, _clean: Tensor, lengths: Tensor, tokens: Sequence[Tokens]) -> Tensor:
    """Sum the logit differences at each prompt's last token."""
    last = logits[torch.arange(len(tokens)), lengths - 1]
    return sum(
        weight * last[row, answer]
        for row, each in enumerate(tokens)
        for answer, weight in each.weights.items()
    )


class _AnyDevice:
    """Stands in for `torch` in EAP-IG's modules, which ask for `cuda` by name."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def zeros(self, *size: Any, device: str, **options: Any) -> Tensor:
        return torch.zeros(*size, device="cpu" if device == "cuda" else device, **options)
