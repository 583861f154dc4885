"""Attribution against the plain passes it is made of, and exact patching against a forward per component.

Both sides run on the same pairs in the same batches, in turn, and must agree on the numbers.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapes
import timing
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchgrid.engine import Component, Engine, Pair
from patchgrid.engine.batches import Batch, fill, make_batch
from patchgrid.engine.tokens import PairTokenizer

SITES = ("resid_post", "attn_out", "mlp_out", "z")
TOLERANCE = 1e-3


class Floor:
    """Plain transformers with PyTorch hooks: what a careful person writes without patchgrid."""

    def __init__(self, folder: str, pairs: list[Pair], batch_tokens: int) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenize = PairTokenizer(
            tokenizer, vocabulary=self.model.config.vocab_size, context=None, prepend_bos=None
        )
        ids = [tokenize(pair, index) for index, pair in enumerate(pairs)]
        self.batches = [make_batch(group, 0, torch.device("cpu")) for group in fill(ids, batch_tokens)]

    def logits(self, batch: Batch, embeddings: torch.Tensor) -> torch.Tensor:
        return self.model(
            inputs_embeds=embeddings,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
            logits_to_keep=1,
        ).logits[:, -1]

    def metric(self, batch: Batch, logits: torch.Tensor) -> torch.Tensor:
        answers = batch.answers
        return logits.gather(1, answers.correct)[:, 0] - logits.gather(1, answers.incorrect)[:, 0]

    def attribute(self) -> np.ndarray:
        """Two forwards and a backward; the score of the embeddings, `[pair]` in the pairs' order."""
        scores = {}
        embed = self.model.get_input_embeddings()
        for batch in self.batches:
            with torch.no_grad():
                clean = embed(batch.clean)
                self.metric(batch, self.logits(batch, clean))
            corrupted = embed(batch.corrupted).requires_grad_(requires_grad=True)
            metric = self.metric(batch, self.logits(batch, corrupted))
            (gradient,) = torch.autograd.grad(metric.sum(), corrupted)
            products = ((clean - corrupted) * gradient).sum((1, 2)).detach()
            scores |= {pair.index: value for pair, value in zip(batch.pairs, products.tolist(), strict=True)}
        return np.array([scores[index] for index in sorted(scores)])

    @torch.no_grad()
    def patch(self) -> np.ndarray:
        """Every head patched by one batched hooked forward each; `[pair, layer * head]`."""
        embed = self.model.get_input_embeddings()
        rows = {}
        for batch in self.batches:
            clean_z: dict[int, torch.Tensor] = {}
            with self._reading(clean_z):
                self.logits(batch, embed(batch.clean))
            corrupted = embed(batch.corrupted)
            base = self.metric(batch, self.logits(batch, corrupted))
            effects = []
            for layer in range(self.model.config.n_layer):
                for head in range(self.model.config.n_head):
                    handle = self._patching(layer, head, clean_z[layer])
                    effects.append(self.metric(batch, self.logits(batch, corrupted)) - base)
                    handle.remove()
            table = torch.stack(effects, 1).numpy()
            rows |= {pair.index: row for pair, row in zip(batch.pairs, table, strict=True)}
        return np.stack([rows[index] for index in sorted(rows)])

    def _patching(self, layer: int, head: int, source: torch.Tensor) -> torch.utils.hooks.RemovableHandle:
        width = self.model.config.n_embd // self.model.config.n_head
        part = slice(head * width, (head + 1) * width)

        def replace(_module: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            z = inputs[0].clone()
            z[..., part] = source[..., part]
            return (z,)

        return self.model.transformer.h[layer].attn.c_proj.register_forward_pre_hook(replace)

    def _reading(self, kept: dict[int, torch.Tensor]) -> "_Hooks":
        def keep(layer: int) -> Iterator[torch.utils.hooks.RemovableHandle]:
            projection = self.model.transformer.h[layer].attn.c_proj
            yield projection.register_forward_pre_hook(lambda _m, x: kept.__setitem__(layer, x[0]))

        return _Hooks([handle for layer in range(self.model.config.n_layer) for handle in keep(layer)])


class _Hooks:
    def __init__(self, handles: list[torch.utils.hooks.RemovableHandle]) -> None:
        self.handles = handles

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def check(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(f"{what}: largest difference {error:.1e} of the largest value")
    if not error < TOLERANCE:
        sys.exit(f"{what}: the two sides did not compute the same")


def main() -> None:
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    folder = arguments.model or shapes.model_folder(arguments.shape, arguments.tokenizer)
    pairs = shapes.read_pairs(arguments.pairs, arguments.count)
    engine = Engine.load(folder, device="cpu", dtype="float32")
    floor = Floor(folder, pairs, arguments.batch_tokens)
    tokens = sum(pair.length for batch in floor.batches for pair in batch.pairs) / len(pairs)
    print(f"{timing.machine()}\n{len(pairs)} pairs of {arguments.pairs.name}, {tokens:.1f} tokens on average")

    embedding = engine.attribute(pairs, sites=("resid_pre",), batch_tokens=arguments.batch_tokens)
    # A GPT-2's resid_pre 0 is the embedding plus what both prompts share.
    check(np.array([r.scores["resid_pre"][0].sum() for r in embedding]), floor.attribute(), "attribution")
    result = timing.in_turn(
        lambda: engine.attribute(pairs, sites=SITES, batch_tokens=arguments.batch_tokens),
        floor.attribute,
        arguments.rounds,
    )
    print(result.line("attribution, pairs", len(pairs), "patchgrid", "floor"))

    few = pairs[: arguments.patch_count]
    floor = Floor(folder, few, arguments.batch_tokens)
    heads = [
        Component("z", layer, head)
        for layer in range(engine.layout.n_layers)
        for head in range(engine.layout.n_heads)
    ]
    check(engine.patch(few, heads, batch_tokens=arguments.batch_tokens), floor.patch(), "exact patching")
    result = timing.in_turn(
        lambda: engine.patch(few, heads, batch_tokens=arguments.batch_tokens),
        floor.patch,
        arguments.rounds,
    )
    print(result.line("exact patching, effects", len(few) * len(heads), "patchgrid", "forward per head"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a GPT-2 folder; without it, --shape with random weights")
    parser.add_argument("--shape", default="gpt2-small", choices=("gpt2-small", "tiny"))
    parser.add_argument("--tokenizer", type=Path, default=shapes.DEMO, help="for --shape")
    parser.add_argument("--pairs", type=Path, default=shapes.PAIRS)
    parser.add_argument("--count", type=int, default=64, help="pairs attributed")
    parser.add_argument("--patch-count", type=int, default=8, help="pairs patched exactly")
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    return parser.parse_args()


if __name__ == "__main__":
    main()
