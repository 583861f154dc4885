"""How near estimates come and how often intervals hold: `python -m benchmarks.estimates.calibration --help`.

The effects of every component in every pair are known. A job's sampling is repeated with many seeds, by the
product's own functions; the effects that it asks for are looked up. Both allocations get the same budget. The
demo model's truths are computed in the run; others come from files of `benchmarks.estimates.truth`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import shapes
from benchmarks.estimates import made_up
from benchmarks.estimates.truth import Truth, compute
from patchgrid.engine import Engine
from patchgrid.estimates import (
    Sums,
    allocate,
    estimate,
    expected_share,
    pilot_rows,
    pilot_scales,
    pilot_share,
    sample_allocated,
    sample_many,
)
from patchgrid.estimates.sampling import FLOOR
from patchgrid.pairs import PairFile

Floats = NDArray[np.float64]
#: The demo model's cases: pair file, metric, direction.
CASES = (
    ("ioi", "logit_diff", "denoise"),
    ("ioi", "logit_diff", "noise"),
    ("ioi", "prob_diff", "denoise"),
    ("greater_than", "prob_diff", "denoise"),
    ("greater_than", "logprob", "denoise"),
    ("ioi_abc", "kl", "denoise"),
)
TOP = 10
#: An interval that is a point misses the truth by the rounding of a sum.
_SLACK = 1e-9


@dataclass(frozen=True)
class Replay:
    """One sample of a job."""

    sums: Sums
    #: Cells patched, those of the pilot included.
    cells: int


@dataclass(frozen=True)
class Figures:
    """What many samples came to."""

    cells: float
    #: Root mean square error over components and samples.
    error: float
    coverage: float
    #: Mean coverage of the tenth of the components that is covered worst.
    worst: float
    #: Coverage of the truly largest, and of those that a sample shows as the largest.
    top: float
    shown: float
    #: Share of samples whose intervals all hold.
    together: float


def by_score(truth: Truth, rate: float, seed: int) -> Replay:
    """Draw as `--allocate score` does."""
    parts, cells = [], 0
    for number, own in _by_site(truth):
        scores = truth.scores[0][:, own]
        mask, chances = sample_many(
            scores,
            rate=rate,
            pairs=len(scores),
            seed=seed,
            site=str(number),
            rows=range(len(scores)),
            scales=pilot_scales(_pilot(scores), scores.shape[1:]),
        )
        parts.append(_sums(truth, scores, own, mask, chances))
        cells += int(mask.sum())
    return Replay(_joined(parts), cells)


def by_residual(truth: Truth, rate: float, seed: int) -> Replay:
    """Draw as `--allocate residual` does."""
    pairs = len(truth.effects)
    share, rows = expected_share(rate, pairs=pairs), np.array(pilot_rows(pairs))
    pilots, scales = {}, {}
    for number, own in _by_site(truth):
        scores = truth.scores[0][rows][:, own]
        scales[str(number)] = pilot_scales(_pilot(truth.scores[0][:, own]), scores.shape[1:])
        mask, chances = sample_allocated(
            scores,
            shares=np.array(pilot_share(share, pairs)),
            scales=scales[str(number)],
            seed=seed,
            site=str(number),
            rows=rows.tolist(),
            stream=1,
        )
        pilots[str(number)] = _sums(truth.take(rows), scores, own, mask, chances)
    cells = int(sum(sums["m"].sum() for sums in pilots.values()))
    shares, parts = allocate(pilots, share=share, pairs=pairs), []
    for number, own in _by_site(truth):
        scores, site = truth.scores[0][:, own], str(number)
        mask, chances = sample_allocated(
            scores, shares=shares[site], scales=scales[site], seed=seed, site=site, rows=range(pairs)
        )
        parts.append(_sums(truth, scores, own, mask, chances))
        cells += int(mask.sum())
    return Replay(_joined(parts), cells)


def figures(truth: Truth, draw: Callable[[Truth, float, int], Replay], rate: float, replays: int) -> Figures:
    """Repeat a job's sampling."""
    means, slack = truth.means, _SLACK * np.abs(truth.effects).max()
    largest = np.argsort(-np.abs(means))[:TOP]
    errors, held, shown, cells = [], [], [], 0
    for seed in range(replays):
        replay = draw(truth, rate, seed)
        found = estimate(replay.sums)
        errors.append(found.estimate - means)
        held.append((found.ci_low <= means + slack) & (means - slack <= found.ci_high))
        order = np.argsort(-np.abs(np.nan_to_num(found.estimate)))[:TOP]
        shown.append(float(held[-1][order].mean()))
        cells += replay.cells
    covered = np.array(held)
    by_component = np.sort(covered.mean(axis=0))
    return Figures(
        cells=cells / replays / truth.effects.size,
        error=float(np.sqrt(np.nanmean(np.square(errors)))),
        coverage=float(covered.mean()),
        worst=float(by_component[: max(1, len(by_component) // 10)].mean()),
        top=float(covered[:, largest].mean()),
        shown=float(np.mean(shown)),
        together=float(covered.all(axis=1).mean()),
    )


def demo_truths(cases: Sequence[tuple[str, str, str]], pairs: int) -> Iterator[Truth]:
    """Compute the demo model's."""
    engine = Engine.load(str(shapes.DEMO), device="cpu", dtype="float32")
    for name, metric, direction in cases:
        with PairFile.open(shapes.ROOT / "examples" / "pairs" / f"{name}.jsonl", limit=pairs) as file:
            given = list(file)
        title = f"demo model, {name}, {metric}, {direction}"
        yield compute(engine, given, title, ("atp",), metric=metric, direction=direction)


def _by_site(truth: Truth) -> Iterator[tuple[int, NDArray[np.intp]]]:
    for number in np.unique(truth.sites).tolist():
        yield number, np.flatnonzero(truth.sites == number)


def _pilot(scores: Floats) -> Sums:
    sums = Sums.zeros(scores.shape[1:], sampled=False)
    sums.add_pairs(scores[pilot_rows(len(scores))])
    return sums


def _sums(
    truth: Truth, scores: Floats, own: NDArray[np.intp], mask: NDArray[np.bool_], chances: Floats
) -> Sums:
    sums = Sums.zeros(scores.shape[1:], sampled=True)
    sums.add_pairs(scores, total_effects=truth.total_effects)
    rows, index = np.nonzero(mask)
    effects = truth.effects[:, own][mask]
    sums.add_cells((index,), scores[mask], effects, chances[mask], truth.total_effects[rows])
    return sums


def _joined(parts: Sequence[Sums]) -> Sums:
    return Sums(np.concatenate([sums.values for sums in parts], axis=1))


def row(truth: Truth, pairs: int, rate: float, replays: int) -> dict[str, float | str]:
    """Compare the two allocations; errors also against attribution alone."""
    cut = truth.first(pairs)
    old, new = (figures(cut, draw, rate, replays) for draw in (by_score, by_residual))
    alone = float(np.sqrt(np.square(cut.scores[0].mean(axis=0) - cut.means).mean()))
    return {
        "truth": truth.name,
        "pairs": pairs,
        "share": round(new.cells, 3),
        "error, over by score": new.error / old.error,
        "error, over attribution": new.error / alone,
        **{
            f"{name}, by {way}": getattr(each, attribute)
            for way, each in (("score", old), ("residual", new))
            for name, attribute in (
                ("coverage", "coverage"),
                ("worst tenth", "worst"),
                ("true top 10", "top"),
                ("shown top 10", "shown"),
                ("all at once", "together"),
            )
        },
    }


def say(found: dict[str, float | str]) -> None:
    words = (
        f"{name} {value:.3g}" if isinstance(value, float) else str(value) for name, value in found.items()
    )
    print(", ".join(words), flush=True)


@click.command(help=__doc__)
@click.argument("truth_files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--replays", default=1000, show_default=True, help="Samples of each setting.")
@click.option("--pairs", "sizes", default="100,300", show_default=True, help="Pairs of the jobs.")
@click.option("--shares", default="0.05,0.2", show_default=True, help="Values of --exact.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Compute the demo model's truths.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(
    truth_files: Sequence[Path], replays: int, sizes: str, shares: str, demo: bool, json_file: Path | None
) -> None:
    counts = [int(each) for each in sizes.split(",")]
    truths = [made_up.heavy_tailed(max(counts)), made_up.templated(max(counts))]
    truths += [Truth.load(file) for file in truth_files]
    truths += islice(demo_truths(CASES, max(counts)), None if demo else 0)
    rows = []
    for truth in truths:
        for pairs in sorted({min(count, len(truth.effects)) for count in counts}):
            for rate in map(float, shares.split(",")):
                if expected_share(rate, pairs=pairs, floor=FLOOR) < 1:
                    rows.append(row(truth, pairs, rate, replays))
                    say(rows[-1])
    if json_file is not None:
        json_file.write_text(json.dumps({"replays": replays, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
