"""How often a certificate of the largest components is false, and what it costs, where every effect is known.

`python -m benchmarks.estimates.certificates --help`
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.estimates.made_up import heavy_tailed, templated
from benchmarks.estimates.truth import Floats, Truth
from patchgrid.estimates import Sums
from patchgrid.estimates.racing import Racers, Standing, first_shares, next_shares, stand
from patchgrid.estimates.regression import lines_of

#: The real model's hundred pairs, ten times: a job of a thousand.
_TIMES = 10


@dataclass(frozen=True)
class Certified:
    """One certificate."""

    #: Something of what it says is not so.
    false: bool
    #: Share of the cells that it took, with those of the first sample.
    cells: float
    #: Share that the same number of pairs for every component would have taken.
    uniform: float
    rounds: int


def certify(truth: Truth, k: int, share: float, tolerance: float, rng: np.random.Generator) -> Certified:
    """Sample a share of the cells, race for the k largest, and compare with the truth."""
    scores, effects, totals = truth.scores[0], truth.effects, truth.total_effects
    pairs, count = effects.shape
    first = rng.random(effects.shape) < share
    lines = _lines(truth, first, share)
    line = lines[0] + lines[1] * scores + lines[2] * totals[:, None]
    left, numbers = effects - scores - line, rng.random(effects.shape)
    n, scales = np.full(count, float(pairs)), np.abs(scores).mean(axis=0)
    joined, rounds = np.zeros(count), 0
    while True:
        drawn = numbers < joined
        u = np.where(drawn, left, 0.0)
        sums = np.stack([drawn.sum(axis=0), *(np.sum(u**power, axis=0) for power in (1, 2, 4))])
        exact = np.where(joined >= 1, truth.means, np.nan)
        racers = Racers(n, (scores + line).mean(axis=0), scales, sums, exact)
        standing = stand(racers, k, confidence=0.95, tolerance=tolerance)
        if rounds and standing.decided:
            break
        joined = next_shares(racers, standing, joined) if rounds else first_shares(racers)
        rounds += 1
    return Certified(
        _is_false(truth, k, standing), float((first | drawn).mean()), float(sums[0].max() / pairs), rounds
    )


def _lines(truth: Truth, first: Floats, share: float) -> Floats:
    sums = Sums.zeros((truth.effects.shape[1],), sampled=True)
    sums.add_pairs(truth.scores[0], total_effects=truth.total_effects)
    pair, component = np.nonzero(first)
    if len(pair):
        sums.add_cells(
            (component,),
            truth.scores[0][first],
            truth.effects[first],
            np.full(len(pair), share),
            truth.total_effects[pair],
        )
    return lines_of(sums)


def _is_false(truth: Truth, k: int, standing: Standing) -> bool:
    size = np.abs(truth.means)
    top = np.zeros(len(size), np.bool_)
    top[np.argsort(-size, kind="stable")[:k]] = True
    outside = size[~standing.is_in].max(initial=0.0)
    wrong = (standing.is_in & ~top).any() or (standing.is_out & top).any()
    return bool(wrong or outside > standing.above + 1e-9)


def settings(files: Sequence[Path]) -> list[tuple[str, Truth]]:
    """Return the truths that certificates are made for, each with its name."""
    stored = [Truth.load(file) for file in files]
    made = [heavy_tailed(300), heavy_tailed(1000), templated(300)]
    return [
        *((f"{truth.name}, {len(truth.effects)} pairs", truth) for truth in [*stored, *made]),
        *(
            (f"{truth.name}, {_TIMES} times", truth.take(np.tile(np.arange(len(truth.effects)), _TIMES)))
            for truth in stored
            if truth.effects.shape[1] > 100
        ),
    ]


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replays", default=1000, show_default=True)
@click.option("--top", "k", default=10, show_default=True)
@click.option("--share", default=0.02, show_default=True, help="Share of cells patched with the scores.")
@click.option("--tolerance", default=0.05, show_default=True)
def main(files: tuple[Path, ...], replays: int, k: int, share: float, tolerance: float) -> None:
    """Make certificates by replays on truths (FILES) and on made-up ones; print a table in Markdown."""
    click.echo("| effects | false | cells | cells, uniform | rounds | seconds a replay |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for name, truth in settings(files):
        rng, began = np.random.default_rng(0), time.perf_counter()
        found = [certify(truth, k, share, tolerance, rng) for _ in range(replays)]
        taken = (time.perf_counter() - began) / replays
        means = [
            float(np.mean([getattr(each, field) for each in found]))
            for field in ("false", "cells", "uniform", "rounds")
        ]
        click.echo(
            f"| {name} | {means[0]:.3f} | {means[1]:.3f} | {means[2]:.2f} | {means[3]:.1f} | {taken:.3f} |"
        )


if __name__ == "__main__":
    main()
