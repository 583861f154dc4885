"""Random halves of all neurons, and of all heads, patched together, against a hooked forward a set."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common import figures, timing
from benchmarks.common.floor import BATCH_TOKENS, Batch, Floor
from benchmarks.common.options import Setting, benchmark
from benchmarks.engine.patching import projections, reading
from patchgrid.engine import ComponentSet

#: How the modules that neurons go through are called in the families that this knows.
_DOWN = ("mlp.c_proj", "mlp.down_proj", "mlp.dense_4h_to_h", "fc2")
#: bool `[layer, index]`: what a set has.
Mask = NDArray[np.bool_]


def down_projections(floor: Floor) -> list[torch.nn.Module]:
    """Return each layer's module that neurons go through."""
    found = [module for name, module in floor.model.named_modules() if name.endswith(_DOWN)]
    if len(found) != floor.model.config.num_hidden_layers:
        raise SystemExit(f"{type(floor.model).__name__}: no projection of neurons found in its MLPs")
    return found


@torch.no_grad()
def patch_masks(
    floor: Floor, batches: Sequence[Batch], modules: Sequence[torch.nn.Module], masks: Sequence[Mask]
) -> np.ndarray:
    """Return the effects `[pair, set]` of replacing what goes into modules, in the pairs' order."""
    rows = {}
    for batch in batches:
        effects = torch.stack(list(set_effects(floor, batch, modules, masks)), 1).numpy()
        rows |= dict(zip(batch.places, effects, strict=True))
    return np.stack([rows[place] for place in range(len(rows))])


def set_effects(
    floor: Floor, batch: Batch, modules: Sequence[torch.nn.Module], masks: Sequence[Mask]
) -> Iterator[Tensor]:
    """Yield each set's effects `[pair]`, a forward each."""
    embed = floor.model.get_input_embeddings()
    corrupted, source = embed(batch.corrupted), dict[int, Tensor]()
    with reading(modules, source):
        floor.logits(batch, embed(batch.clean))
    base = floor.metric(batch, corrupted)
    for mask in masks:
        with ExitStack() as stack:
            for layer, module in enumerate(modules):
                columns = torch.from_numpy(np.repeat(mask[layer], source[layer].shape[-1] // mask.shape[1]))

                def replace(
                    _module: object,
                    inputs: tuple[Tensor, ...],
                    columns: Tensor = columns,
                    new: Tensor = source[layer],
                ) -> tuple[Tensor, ...]:
                    return (torch.where(columns, new, inputs[0].view(new.shape)), *inputs[1:])

                stack.callback(module.register_forward_pre_hook(replace).remove)
            yield floor.metric(batch, corrupted) - base


@click.command(help=__doc__)
@benchmark(count=4)
@click.option("--sets", "number", default=32, show_default=True, help="Sets of each kind.")
def main(setting: Setting, number: int) -> None:
    found = setting.figures(sets=number)
    pairs, engine = setting.pairs(), setting.engine()
    floor = Floor.load(setting.folder, BATCH_TOKENS)
    batches, layout, rng = floor.prepare(pairs), engine.layout, np.random.default_rng(0)
    for site, modules in (("mlp_post", down_projections(floor)), ("z", projections(floor.model))):
        size = layout.count(site) or 1
        masks = rng.random((number, layout.n_layers, size)) < 0.5
        sets = [ComponentSet.of_site(site, dict(enumerate(map(np.flatnonzero, mask)))) for mask in masks]

        def ours(sets: Sequence[ComponentSet] = sets) -> np.ndarray:
            return engine.patch_sets(pairs, sets)

        def theirs(modules: Sequence[torch.nn.Module] = modules, masks: Sequence[Mask] = masks) -> np.ndarray:
            return patch_masks(floor, batches, modules, masks)

        timing.check(ours(), theirs(), f"sets of {site}")
        times = timing.in_turn(ours, theirs, setting.rounds)
        rates = (len(pairs) * number * rate for rate in times.rates)
        what = f"random halves of all {layout.n_layers * size:,} components of {site}"
        found.add(figures.Row(what, "a hooked forward a set", *rates, "effects/s", tuple(times.speedups)))
    found.write(setting.json)


if __name__ == "__main__":
    main()
