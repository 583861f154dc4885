"""How large verification's standard errors are, against the spread of its figures over many jobs.

`python -m benchmarks.estimates.agreement truth.npz`: each job's pairs are drawn from those of the truth, with
replacement, and its cells by the product's own functions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.estimates.calibration import resampled
from benchmarks.estimates.replays import Batch, by_residual
from benchmarks.estimates.truth import SITES, Floats, Truth
from patchgrid.estimates import Cells, agreement, estimate, mean_agreement, top_agreement

#: Figures by the function that gives them.
CELL_FIGURES = ("pearson", "slope", "bias", "within_pearson", "within_slope", "sign_agreement", "spearman")
MEAN_FIGURES = ("pearson", "slope", "error")
TOP = 10
_ONE_SIGMA = 0.6827


def figures(batch: Batch, share: float, seed: int, site: int) -> Iterator[dict[str, tuple[float, float]]]:
    """Yield each job's figures of a site with their standard errors."""
    own = batch.of_site(site)
    drawn = by_residual(batch, share, seed, batch.scores.shape[1])
    mask, chances = drawn.cells[str(site)]
    sums = drawn.sums.values[:, :, batch.sites == site]
    for replay in range(mask.shape[1]):
        pair, component = np.nonzero(mask[:, replay])
        at = pair, np.full(len(pair), replay), component
        cells = Cells(own.scores[at], own.effects[at], chances[at], pair, component)
        job = type(drawn.sums)(np.ascontiguousarray(sums[:, replay]))
        found, wide = estimate(job), estimate(job, population=True, level=_ONE_SIGMA)
        by_cell = agreement(cells.score, cells.effect, cells.inclusion, pair, component)
        size = job["w"] ** 2 / np.where(job["ww"] > 0, job["ww"], np.inf)
        by_mean = mean_agreement(found.mean, found.estimate, found.error, found.n, size, cells)
        top = top_agreement(found.mean, found.estimate, (wide.ci_high - wide.ci_low) / 2, found.exact_n, TOP)
        yield {
            **{name: (getattr(by_cell, name), getattr(by_cell, f"{name}_se")) for name in CELL_FIGURES},
            **{
                f"mean_{name}": (getattr(by_mean, name), getattr(by_mean, f"{name}_se"))
                for name in MEAN_FIGURES
            },
            "top_overlap": (top.overlap, top.overlap_se),
        }


def spread(truth: Truth, pairs: int, share: float, site: int, jobs: int) -> dict[str, Floats]:
    """Return the figures `[job, (value, error)]` of many jobs."""
    source, found = resampled(truth, pairs), []
    for start in range(0, jobs, 50):
        batch = Batch.of([source(seed) for seed in range(start, min(jobs, start + 50))])
        found += list(figures(batch, share, start, site))
    return {name: np.array([each[name] for each in found]) for name in found[0]}


@click.command(help=__doc__)
@click.argument("truth_files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--jobs", default=200, show_default=True, help="Jobs of each truth.")
@click.option("--pairs", default=100, show_default=True, help="Pairs of a job.")
@click.option("--share", default=0.32, show_default=True, help="Share of the cells to patch.")
@click.option("--site", default="z", show_default=True, type=click.Choice(SITES))
def main(truth_files: Sequence[Path], jobs: int, pairs: int, share: float, site: str) -> None:
    for file in truth_files:
        truth = Truth.load(file)
        print(f"{truth.name}, {pairs} pairs, share {share}, {site}")
        for name, drawn in spread(truth, pairs, share, SITES.index(site), jobs).items():
            values, errors = drawn.T
            if np.isnan(values).all():
                continue
            real, said = np.nanstd(values), np.sqrt(np.nanmean(errors**2))
            ratio = f"{said / real:.2f}" if real > 1e-9 else "-"
            print(f"  {name:<16} {np.nanmean(values):8.3f}  spread {real:.4f}  error {said:.4f}  {ratio}")


if __name__ == "__main__":
    main()
