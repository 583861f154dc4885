"""How near estimates come and how often intervals hold: `python -m benchmarks.estimates.calibration --help`.

The effects of every component in every pair are known. A job's sampling is repeated with many seeds, by the
product's own functions; the effects that it asks for are looked up. The first generation (`--allocate score`)
gets the same number of cells. The demo model's truths are computed in the run, from pairs of
`examples/pairs/make_pairs.py`; others come from files of `benchmarks.estimates.truth`.
"""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import shapes
from benchmarks.estimates import made_up
from benchmarks.estimates.calibration_page import write_page
from benchmarks.estimates.replays import Batch, Replays, by_residual, by_score, has_plan, of_replay
from benchmarks.estimates.truth import Floats, Truth, compute
from examples.pairs.make_pairs import write_all
from patchgrid.engine import Engine
from patchgrid.estimates import Estimates, Sums, estimate
from patchgrid.pairs import PairFile

#: The demo model's cases: pair file, metric, direction, method. `atp` has no scores for `kl` in the noise
#: direction.
CASES = (
    ("ioi", "logit_diff", "denoise", "atp"),
    ("ioi", "logit_diff", "noise", "atp"),
    ("ioi", "prob_diff", "denoise", "atp"),
    ("ioi", "prob_diff", "noise", "atp"),
    ("ioi", "logprob", "denoise", "atp"),
    ("ioi", "logprob", "noise", "atp"),
    ("greater_than", "prob_diff", "denoise", "atp"),
    ("greater_than", "logprob", "denoise", "atp"),
    ("ioi_abc", "kl", "denoise", "atp"),
    ("ioi_abc", "kl", "noise", "ig"),
)
TOP = 10
#: An interval that is a point misses the truth by the rounding of a sum.
_SLACK = 1e-9
#: Cells of all replays that are drawn at once, at most: bounds memory.
_AT_ONCE = 2_000_000
#: Expected cells of a component from which on a setting is replayed.
_FEWEST = 1
#: Jobs whose pairs differ that are drawn at once, and the pairs from which on a truth can be their source.
_JOBS, _SOURCE = 50, 300


@dataclass(frozen=True)
class Figures:
    """What many samples came to."""

    #: Share of cells patched, those of the pilot included.
    share: float
    #: Root mean square error over components and samples, and that of exact patching alone on the same cells.
    error: float
    exact_alone: float
    #: Share of components without an interval; the others' intervals are counted below.
    without: float
    coverage: float
    #: Mean coverage of the tenth of the components that is covered worst.
    worst: float
    #: Coverage of the truly largest, and of those that a sample shows as the largest.
    top: float
    shown: float
    #: Share of samples whose intervals all hold.
    together: float


@dataclass(frozen=True)
class Row:
    """One setting: effects, pairs, share of the cells."""

    truth: str
    pairs: int
    #: Whether the budget gives a plan by residuals; else cells are drawn by score.
    planned: bool
    #: Part of the squares of residuals, what score and total effect leave of effects, that the 2 % of pairs
    #: where they are largest carry: the mean over components.
    tail: float
    #: Correlation over components of the logarithms of residuals' and scores' sizes.
    follows: float
    #: Error of attribution alone.
    attribution: float
    now: Figures
    #: The first generation's.
    before: Figures
    seconds: float


@dataclass(frozen=True)
class Population:
    """How often intervals for the pairs' source hold its means."""

    truth: str
    pairs: int
    share: float
    coverage: float
    worst: float
    top: float
    #: Share of jobs whose simultaneous intervals all hold.
    together: float


def figures(
    truth: Truth, draw: Callable[[Batch, float, int, int], Replays], share: float, replays: int
) -> Figures:
    """Repeat a job's sampling."""
    means, slack = truth.means, _SLACK * np.abs(truth.effects).max()
    largest = np.argsort(-np.abs(means))[:TOP]
    errors, alone, held, told, shown, at_once, cells = [], [], [], [], [], [], 0
    batch = Batch.of([truth])
    size = max(1, min(replays, _AT_ONCE // truth.effects.size))
    for start in range(0, replays, size):
        drawn = draw(batch, share, start, min(size, replays - start))
        found = _estimated(drawn.sums, truth.sites)
        family = _estimated(drawn.sums, truth.sites, together=len(means))
        with np.errstate(invalid="ignore", divide="ignore"):
            exact = (drawn.sums["wa"] + drawn.sums["wr"]) / drawn.sums["w"]
        errors.append(found.estimate - means)
        alone.append(exact - means)
        held.append((found.ci_low <= means + slack) & (means - slack <= found.ci_high))
        at_once.append(~((family.ci_low > means + slack) | (means - slack > family.ci_high)).any(axis=1))
        told.append(np.isfinite(found.ci_low))
        order = np.argsort(-np.abs(np.nan_to_num(found.estimate)), axis=1)[:, :TOP]
        shown.append(np.take_along_axis(np.where(told[-1], held[-1], np.nan), order, axis=1))
        cells += drawn.patched
    has = np.concatenate(told)
    covered, missed = np.where(has, np.concatenate(held), np.nan), np.concatenate(errors)
    by_component = np.sort(np.nanmean(covered, axis=0))
    return Figures(
        share=cells / replays / truth.effects.size,
        error=_size(missed),
        exact_alone=_size(np.concatenate(alone)),
        without=float((~has).mean()),
        coverage=float(np.nanmean(covered)),
        worst=float(by_component[: max(1, len(by_component) // 10)].mean()),
        top=float(np.nanmean(covered[:, largest])),
        shown=float(np.nanmean(np.concatenate(shown))),
        together=float(np.concatenate(at_once).mean()),
    )


def _estimated(sums: Sums, sites: NDArray[np.int64], **options: Any) -> Estimates:
    """Estimate each replay and site by itself, `[replay, component]`: what moderates variances is its own."""
    names = [each.name for each in dataclasses.fields(Estimates)]
    parts = []
    for number in np.unique(sites):
        own = [of_replay(sums, replay, sites == number) for replay in range(sums.axes[0])]
        parts.append([estimate(each, **options) for each in own])
    return Estimates(
        **{
            name: np.concatenate([np.stack([getattr(each, name) for each in part]) for part in parts], axis=1)
            for name in names
        }
    )


def measure(truth: Truth, share: float, replays: int) -> Row:
    """Replay one setting."""
    start = time.perf_counter()
    pairs = len(truth.effects)
    before = figures(truth, by_score, share, replays)
    planned = has_plan(share, pairs)
    now = figures(truth, by_residual, share, replays) if planned else before
    alone = _size(truth.scores[0].mean(axis=0) - truth.means)
    seconds = time.perf_counter() - start
    return Row(truth.name, pairs, planned, *_residuals(truth), alone, now, before, seconds)


def population(
    name: str, source: Callable[[int], Truth], means: Floats, share: float, replays: int
) -> Population:
    """Draw the pairs as well: `source` gives those of a seed, `means` are those of all that it can give."""
    largest = np.argsort(-np.abs(means))[:TOP]
    held, at_once, size = [], [], 0
    for start in range(0, replays, _JOBS):
        truths = [source(seed) for seed in range(start, min(replays, start + _JOBS))]
        drawn = by_residual(Batch.of(truths), share, start, len(truths))
        found = _estimated(drawn.sums, truths[0].sites, population=True)
        told = np.isfinite(found.ci_low)
        held.append(np.where(told, (found.ci_low <= means) & (means <= found.ci_high), np.nan))
        family = _estimated(drawn.sums, truths[0].sites, population=True, together=len(means))
        at_once.append(~((family.ci_low > means) | (means > family.ci_high)).any(axis=1))
        size = len(truths[0].effects)
    covered = np.concatenate(held)
    by_component = np.sort(np.nanmean(covered, axis=0))
    return Population(
        truth=name,
        pairs=size,
        share=share,
        coverage=float(np.nanmean(covered)),
        worst=float(by_component[: max(1, len(by_component) // 10)].mean()),
        top=float(np.nanmean(covered[:, largest])),
        together=float(np.concatenate(at_once).mean()),
    )


def resampled(truth: Truth, pairs: int) -> Callable[[int], Truth]:
    """Return a source of pairs: those of a truth, drawn with replacement."""
    return lambda seed: truth.take(np.random.default_rng(seed).integers(0, len(truth.effects), pairs))


def populations(truths: Sequence[Truth], replays: int) -> Iterator[Population]:
    """Replay jobs whose pairs are drawn too: independent ones, and templates that repeat together."""
    pairs, share = 100, 0.32
    for truth in truths:
        yield population(truth.name, resampled(truth, pairs), truth.means, share, replays)
    for templates in (10, 15, 50):
        yield population(
            f"made-up templates, {templates} in a job",
            lambda seed, templates=templates: made_up.templated(pairs, templates=templates, seed=seed),  # type: ignore[misc]
            made_up.TEMPLATED_MEANS,
            share,
            replays,
        )


def _residuals(truth: Truth) -> tuple[float, float]:
    """Return `tail` and `follows` of a truth."""
    scores, count = truth.scores[0], max(1, len(truth.effects) // 50)
    tails, sizes = [], []
    for number in range(scores.shape[1]):
        known = np.stack([np.ones(len(scores)), scores[:, number], truth.total_effects], axis=1)
        fit = np.linalg.lstsq(known, truth.effects[:, number], rcond=None)[0]
        squares = np.sort(np.square(truth.effects[:, number] - known @ fit))[::-1]
        size = np.abs(scores[:, number]).mean()
        if squares.sum() > 0 and size > 0:
            tails.append(squares[:count].sum() / squares.sum())
            sizes.append((np.log(squares.sum()) / 2, np.log(size)))
    return float(np.mean(tails)), float(np.corrcoef(np.array(sizes).T)[0, 1])


def demo_truths(cases: Sequence[tuple[str, str, str, str]], pairs: int) -> Iterator[Truth]:
    """Compute the demo model's."""
    engine = Engine.load(str(shapes.DEMO), device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        write_all(Path(folder), pairs)
        for name, metric, direction, method in cases:
            with PairFile.open(str(Path(folder) / f"{name}.jsonl")) as file:
                given = list(file)
            title = f"demo model, {name}, {metric}, {direction}, {method}"
            yield compute(engine, given, title, (method,), metric=metric, direction=direction)


def _size(errors: Floats) -> float:
    return float(np.sqrt(np.nanmean(np.square(errors))))


def _say(row: Row) -> None:
    now = " ".join(f"{name} {value:.3g}" for name, value in dataclasses.asdict(row.now).items())
    ratio = row.now.error / row.before.error
    print(f"{row.truth}, {row.pairs} pairs: over the first generation {ratio:.3g}, {now}", flush=True)


@click.command(help=__doc__)
@click.argument("truth_files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--replays", default=1000, show_default=True, help="Samples of each setting.")
@click.option("--pairs", "sizes", default="30,100,300,1000", show_default=True, help="Pairs of the jobs.")
@click.option(
    "--shares", default="0.005,0.02,0.05,0.2,0.4", show_default=True, help="Shares of the cells to patch."
)
@click.option("--demo/--no-demo", default=True, show_default=True, help="Compute the demo model's truths.")
@click.option("--processes", default=2, show_default=True, help="Settings replayed at a time.")
@click.option("--page", "page_file", type=click.Path(path_type=Path), help="Write docs/calibration.md here.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(
    truth_files: Sequence[Path],
    replays: int,
    sizes: str,
    shares: str,
    demo: bool,
    processes: int,
    page_file: Path | None,
    json_file: Path | None,
) -> None:
    counts = [int(each) for each in sizes.split(",")]
    truths = [made_up.heavy_tailed(max(counts)), made_up.templated(max(counts))]
    truths += [Truth.load(file) for file in truth_files]
    truths += islice(demo_truths(CASES, max(counts)), None if demo else 0)
    settings = [
        (truth.first(pairs), share, replays)
        for truth in truths
        for pairs in sorted({min(count, len(truth.effects)) for count in counts})
        for share in map(float, shares.split(","))
        if share * pairs >= _FEWEST
    ]
    rows = list(_replayed(settings, processes))
    sources = [truth for truth in truths if len(truth.effects) >= _SOURCE and truth.name not in made_up.NAMES]
    drawn = list(populations(sources, replays))
    found = {
        "replays": replays,
        "rows": [dataclasses.asdict(row) for row in rows],
        "populations": [dataclasses.asdict(row) for row in drawn],
    }
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n")
    if page_file is not None:
        write_page(page_file, found)


def _replayed(settings: Sequence[tuple[Truth, float, int]], processes: int) -> Iterator[Row]:
    """Yield each setting's row, and print it."""
    with ExitStack() as stack:
        rows = map(_measure, settings)
        if processes > 1:
            # Threads of a process that has run torch must not be forked.
            pool = stack.enter_context(get_context("spawn").Pool(processes))
            rows = pool.imap(_measure, settings, chunksize=1)
        for row in rows:
            _say(row)
            yield row


def _measure(setting: tuple[Truth, float, int]) -> Row:
    return measure(*setting)


if __name__ == "__main__":
    main()
