"""Components as a table."""

from collections.abc import Sequence

from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.text.number_format import NONE, number, percent, with_interval
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage


def show_components(
    rows: Sequence[ComponentRow], *, absolute: bool = False, title: str | None = None
) -> None:
    """Print components with their means and estimates, if any; `absolute` adds mean |score|."""
    sampled = any(row.exact_n for row in rows)
    columns = [Column("component"), Column("mean score", number=True)]
    if absolute:
        columns.append(Column("mean |score|", number=True))
    if sampled:
        columns += [Column(name, number=True) for name in ("estimate", "95% interval", "exact")]
    columns.append(Column("pairs", number=True))
    cells = []
    for row in rows:
        cell = [row.name, number(row.mean, sign=True)]
        if absolute:
            cell.append(number(row.mean_abs))
        if sampled:
            cell += [*_estimate(row), f"{row.exact_n:,}"]
        cells.append([*cell, f"{row.n:,}"])
    show_table(columns, cells, title)


def say_intervals(
    rows: Sequence[ComponentRow], coverage: Coverage, progress: Progress, *, population: bool = False
) -> None:
    """Print how much was patched exactly, and which mean the intervals are for."""
    if not coverage.patched:
        return
    say(f"{coverage.patched:,} of {coverage.cells:,} cells ({percent(coverage.share)}) were patched exactly")
    if any(row.ci_low is not None for row in rows):
        job = f"the mean over this job's {counted(progress.done, 'pair')}"
        say(
            "Intervals: 95 %, for the mean over the population of pairs"
            if population
            else f"Intervals: 95 %, for {job} (--population: for the population of pairs)"
        )


def _estimate(row: ComponentRow) -> tuple[str, str]:
    """Format the estimate and its interval; an unbounded one as text, like the page."""
    if row.unbounded:
        return number(row.estimate, sign=True), "no bound"
    estimate, interval = with_interval(row.estimate, row.ci_low, row.ci_high)
    return estimate, NONE if row.estimate is None else interval
