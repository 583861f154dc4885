"""How often bounds on what was hardly patched hold: `python -m benchmarks.estimates.missed --help`.

Subsets of made-up components are dealt and bounded again and again, by the product's own functions. With a
model, joint effects of subsets of its neurons are measured too, and compared with every neuron's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.common.shapes import DEMO, PAIRS
from patchgrid.engine import Component, ComponentSet, Engine
from patchgrid.estimates.missed import BlockEffects, Missed, blocks_of, bounds, slope_of
from patchgrid.pairs import PairFile

Floats = NDArray[np.float64]
#: From effects `[component]` and blocks `[round, component]` to what the blocks do.
Joint = Callable[[Floats, NDArray[np.intp]], Floats]
#: Made-up components, pairs, pairs that are patched; rounds and blocks as in the product.
COMPONENTS, PAIRS_OF_JOB, CHOSEN, ROUNDS, BLOCKS = 500, 300, 32, 4, 16
#: The component that scores do not see, where there is one.
PLANTED = 7
#: Subsets of each pair of a model.
_SUBSETS = 64


@dataclass(frozen=True)
class World:
    """A kind of made-up effects."""

    name: str
    #: Degrees of freedom of Student's t; None: normal.
    tails: float | None = None
    #: Share of the pairs in which the planted component acts, and its mean effect.
    planted: tuple[float, float] | None = None
    interacting: bool = False

    def make(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return effects and scores, `[pair, component]`."""
        size = 0.02 * rng.normal(size=COMPONENTS)
        size[rng.choice(COMPONENTS, COMPONENTS // 10, replace=False)] *= 4
        effects = size + 0.5 * np.abs(size) * rng.normal(size=(PAIRS_OF_JOB, COMPONENTS))
        if self.tails is not None:
            effects *= 0.5 * rng.standard_t(self.tails, size=effects.shape)
        scores = 0.8 * effects + 0.01 * rng.normal(size=effects.shape)
        if self.planted is not None:
            share, mean = self.planted
            effects[:, PLANTED] = np.where(rng.random(PAIRS_OF_JOB) < share, mean / share, 0)
            scores[:, PLANTED] = 0.01 * rng.normal(size=PAIRS_OF_JOB)
        return effects, scores


WORLDS = (
    World("effects add up"),
    World("heavy tails", tails=2.1),
    World("interactions and saturation", interacting=True),
    World("planted, 0.6 in every pair", planted=(1.0, 0.6)),
    World("planted, 2 in a fifth of the pairs", planted=(0.2, 0.4)),
)


def summed(values: Floats, blocks: NDArray[np.intp], count: int = BLOCKS) -> Floats:
    """Add up values by block, a row a round; components in no block are left out."""
    inside = blocks[0] >= 0
    return np.stack([np.bincount(own[inside], values[inside], minlength=count) for own in blocks])


def interacting(effects: Floats, blocks: NDArray[np.intp]) -> Floats:
    """Add products of some components' presences, and let the whole saturate."""
    rng = np.random.default_rng(1)
    partners, weights = rng.integers(COMPONENTS, size=(4 * COMPONENTS, 2)), rng.normal(size=4 * COMPONENTS)
    found = summed(effects, blocks)
    for row, own in zip(found, blocks, strict=True):
        same = own[partners[:, 0]] == own[partners[:, 1]]
        row += np.bincount(own[partners[same, 0]], 0.02 * weights[same], minlength=BLOCKS)
    return 3 * np.tanh(found / 3)


def replay(seed: int, effects: Floats, scores: Floats, joint: Joint) -> Missed:
    """Draw pairs and subsets, and bound the components."""
    data = []
    for pair in np.random.default_rng(seed).choice(PAIRS_OF_JOB, CHOSEN, replace=False).tolist():
        dealt = [blocks_of(seed, "made up", pair, number, COMPONENTS, BLOCKS) for number in range(ROUNDS)]
        blocks = np.stack(dealt)
        data.append(BlockEffects(joint(effects[pair], blocks), summed(scores[pair], blocks), blocks))
    everybody = np.ones(COMPONENTS, bool)
    return bounds(data, scores.mean(0), slope=slope_of(data), of_pairs=PAIRS_OF_JOB, members=everybody)


def report_world(world: World, replays: int) -> None:
    """Print how often a kind's bounds held."""
    held = together = named = 0
    sizes = []
    for seed in range(replays):
        effects, scores = world.make(np.random.default_rng(seed))
        found = replay(seed, effects, scores, interacting if world.interacting else summed)
        truth, others = effects.mean(0), ~found.apart
        sizes.append((found.largest(others), np.abs(truth[others]).max()))
        held += sizes[-1][0] >= sizes[-1][1]
        together += bool((np.abs(found.estimate - truth) <= found.half).all())
        named += bool(found.apart[PLANTED])
    bound, largest = np.mean(sizes, axis=0)
    shares = " | ".join(f"{count / replays:.3f}" for count in (held, together, named))
    click.echo(f"| {world.name} | {shares} | {bound:.3f} | {largest:.3f} |")


def report_model(model: str, file: str, count: int) -> None:
    """Print how near estimates come to every neuron's own effect; the largest 3 % by score are left out."""
    engine = Engine.load(model, device="cpu", dtype="float32")
    pairs = list(islice(PairFile.open(file), count))
    layers, width = engine.layout.n_layers, engine.layout.d_mlp or 0
    neurons = [Component("mlp_post", layer, index) for layer in range(layers) for index in range(width)]
    truth = engine.patch(pairs, neurons).mean(0)
    results = engine.attribute(pairs, sites="mlp_post", keep_positions=False)
    scores = np.stack([result.scores["atp"]["mlp_post"].ravel() for result in results]).astype(np.float64)
    members = np.ones(len(neurons), bool)
    members[np.argsort(-np.abs(scores.mean(0)))[: len(neurons) * 3 // 100]] = False
    click.echo(
        "\n| blocks | error with scores | without | bound | largest |\n| --- | --- | --- | --- | --- |"
    )
    for blocks in (2, 4, 8, 16, 32):
        data = []
        for row, (pair, own) in enumerate(zip(pairs, scores, strict=True)):
            rounds = [
                blocks_of(0, "mlp_post", row, number, len(neurons), blocks)
                for number in range(_SUBSETS // blocks)
            ]
            dealt = np.where(members, np.stack(rounds), -1)
            sets = [_set(each == number, layers) for each in dealt for number in range(blocks)]
            effects = engine.patch_sets([pair], sets)[0].reshape(len(dealt), blocks)
            data.append(BlockEffects(effects, summed(own, dealt, blocks), dealt))
        errors = []
        for slope in (slope_of(data), 0.0):
            found = bounds(data, scores.mean(0), slope=slope, of_pairs=10**6, members=members)
            errors.append(float(np.sqrt(np.mean((found.estimate - truth)[members] ** 2))))
            if slope:
                others = members & ~found.apart
                both = found.largest(others), np.abs(truth[others]).max()
        click.echo(f"| {blocks} | {errors[0]:.4f} | {errors[1]:.4f} | {both[0]:.3f} | {both[1]:.3f} |")


def _set(chosen: NDArray[np.bool_], layers: int) -> ComponentSet:
    by_layer = chosen.reshape(layers, -1)
    return ComponentSet.of_site("mlp_post", dict(enumerate(map(np.flatnonzero, by_layer))))


@click.command(help=__doc__)
@click.option("--replays", default=300, show_default=True, help="Replays of each kind of made-up effects.")
@click.option("--model", default=str(DEMO), help="Hub id or folder; else the demo model.")
@click.option("--pairs", "file", default=str(PAIRS), help="Pair file; else examples/pairs/ioi.jsonl.")
@click.option("--count", default=32, show_default=True, help="Pairs of the model; 0: leave it out.")
def main(replays: int, model: str, file: str, count: int) -> None:
    click.echo("| effects | bound holds | all intervals hold | planted is named | bound | largest |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for world in WORLDS:
        report_world(world, replays)
    if count:
        report_model(model, file, count)


if __name__ == "__main__":
    main()
