"""One estimate from all methods against each alone: `python -m benchmarks.estimates.combined --help`.

The effects of every component in every pair are known (`benchmarks.estimates.truth --method atp,relp,ig`). A
job's sampling by score is repeated with many seeds; all estimates are made from the same cells.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.estimates.truth import Floats, Truth
from patchgrid.estimates import Sums, estimate, sample_many

#: Cells a component that the sampling has on average, at least.
_FLOOR = 16.0


def measure(truth: Truth, share: float, replays: int) -> dict[str, tuple[float, float]]:
    """Return the root mean square error and the coverage by each method, and by all together."""
    names = (*truth.methods, "combined")
    errors: dict[str, list[Floats]] = {name: [] for name in names}
    held: dict[str, list[Floats]] = {name: [] for name in names}
    means, pairs = truth.means, len(truth.effects)
    for seed in range(replays):
        mask = np.zeros(truth.effects.shape, bool)
        chances = np.ones(truth.effects.shape)
        for site in np.unique(truth.sites):
            own = truth.sites == site
            mask[:, own], chances[:, own] = sample_many(
                truth.scores[0][:, own],
                rate=share,
                floor=_FLOOR,
                pairs=pairs,
                seed=seed,
                site=str(site),
                rows=range(pairs),
            )
        every = added(truth, mask, chances)
        for name, sums in zip(names, (*([each] for each in every), every), strict=True):
            found = estimate(sums[0], others=sums[1:])
            errors[name].append(found.estimate - means)
            inside = (found.ci_low <= means + 1e-9) & (means - 1e-9 <= found.ci_high)
            held[name].append(np.where(np.isfinite(found.ci_low), inside, np.nan))
    return {
        name: (float(np.sqrt(np.nanmean(np.square(errors[name])))), float(np.nanmean(held[name])))
        for name in names
    }


def added(truth: Truth, mask: np.ndarray, chances: Floats) -> list[Sums]:
    """Return the sums of each method over the same cells."""
    rows, component = np.nonzero(mask)
    found = []
    for place, scores in enumerate(truth.scores):
        sums = Sums.zeros(mask.shape[1:], sampled=True, crosses=place)
        sums.add_pairs(scores, total_effects=truth.total_effects)
        sums.add_cells(
            (component,),
            scores[mask],
            truth.effects[mask],
            chances[mask],
            truth.total_effects[rows],
            others=truth.scores[:place, mask],
        )
        found.append(sums)
    return found


@click.command(help=__doc__)
@click.argument("truth_files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--replays", default=200, show_default=True, help="Samples of each setting.")
@click.option("--shares", default="0.1,0.2,0.4", show_default=True, help="Shares of the cells to patch.")
def main(truth_files: Sequence[Path], replays: int, shares: str) -> None:
    for file in truth_files:
        truth = Truth.load(file)
        for share in map(float, shares.split(",")):
            found = measure(truth, share, replays)
            first = found[truth.methods[0]][0]
            figures = ", ".join(
                f"{name} {error / first:.2f} ({held:.3f})" for name, (error, held) in found.items()
            )
            print(f"{truth.name}, {len(truth.effects)} pairs, share {share:g}: {figures}", flush=True)


if __name__ == "__main__":
    main()
