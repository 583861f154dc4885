"""Exact patching of all heads, against one batched forward a head with plain PyTorch hooks."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.common import figures, timing
from benchmarks.common.floor import BATCH_TOKENS, Batch, Floor
from benchmarks.common.options import Setting, benchmark
from patchgrid.engine import Component

#: How the modules that project the heads' outputs are called in the families that this knows.
_PROJECTIONS = ("attn.c_proj", "self_attn.o_proj", "attention.dense", "self_attn.dense")


def projections(model: Any) -> list[torch.nn.Module]:
    """Return each layer's module that projects the heads' outputs."""
    found = [module for name, module in model.named_modules() if name.endswith(_PROJECTIONS)]
    if len(found) != model.config.num_hidden_layers:
        raise SystemExit(f"{type(model).__name__}: no output projection found in its attention layers")
    return found


@contextmanager
def reading(modules: Sequence[torch.nn.Module], kept: dict[int, Tensor]) -> Iterator[None]:
    """Keep what goes into each module, for the time of a `with` block."""
    with ExitStack() as stack:
        for layer, module in enumerate(modules):
            hook = module.register_forward_pre_hook(
                lambda _module, inputs, layer=layer: kept.__setitem__(layer, inputs[0])
            )
            stack.callback(hook.remove)
        yield


@contextmanager
def patching(module: torch.nn.Module, part: slice, source: Tensor) -> Iterator[None]:
    """Put one head's clean output in place of the run's own, for the time of a `with` block."""

    def replace(_module: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = inputs[0].clone()
        z[..., part] = source[..., part]
        return (z, *inputs[1:])

    hook = module.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def patch_heads(floor: Floor, batches: Sequence[Batch]) -> np.ndarray:
    """Return the effects `[pair, layer * head]` in the pairs' order."""
    rows = {}
    for batch in batches:
        effects = torch.stack(list(head_effects(floor, batch)), 1).numpy()
        rows |= dict(zip(batch.places, effects, strict=True))
    return np.stack([rows[place] for place in range(len(rows))])


def head_effects(floor: Floor, batch: Batch) -> Iterator[Tensor]:
    """Yield each head's effects `[pair]`, a forward each."""
    modules, heads = projections(floor.model), floor.model.config.num_attention_heads
    embed = floor.model.get_input_embeddings()
    corrupted, clean_z = embed(batch.corrupted), dict[int, Tensor]()
    with reading(modules, clean_z):
        floor.logits(batch, embed(batch.clean))
    base = floor.metric(batch, corrupted)
    for layer, module in enumerate(modules):
        width = clean_z[layer].shape[-1] // heads
        for start in range(0, heads * width, width):
            with patching(module, slice(start, start + width), clean_z[layer]):
                yield floor.metric(batch, corrupted) - base


@click.command(help=__doc__)
@benchmark(count=8)
@click.option("--batch-tokens", type=int, help="Padded tokens of patchgrid's batches; else as it chooses.")
@click.option("--floor-batch-tokens", default=BATCH_TOKENS, show_default=True, help="The other side's.")
def main(setting: Setting, batch_tokens: int | None, floor_batch_tokens: int) -> None:
    found = setting.figures(batch_tokens=batch_tokens, floor_batch_tokens=floor_batch_tokens)
    pairs, engine = setting.pairs(), setting.engine()
    floor = Floor.load(setting.folder, floor_batch_tokens)
    batches, layout = floor.prepare(pairs), engine.layout
    heads = [Component("z", layer, h) for layer in range(layout.n_layers) for h in range(layout.n_heads)]

    def ours() -> np.ndarray:
        return engine.patch(pairs, heads, batch_tokens=batch_tokens)

    timing.check(ours(), patch_heads(floor, batches), "exact patching")
    times = timing.in_turn(ours, lambda: patch_heads(floor, batches), setting.rounds)
    rates = (len(pairs) * len(heads) * rate for rate in times.rates)
    what, aim = f"exact patching of all {len(heads)} heads", figures.Target(6)
    found.add(figures.Row(what, "a hooked forward a head", *rates, "effects/s", tuple(times.speedups), aim))
    found.write(setting.json)


if __name__ == "__main__":
    main()
