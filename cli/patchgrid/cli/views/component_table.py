"""Components as a table."""

from collections.abc import Sequence

from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.names import COMBINED, PAIRS, POPULATION
from patchgrid.core.text.number_format import NONE, number, percent, with_interval
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage

#: Share of the population's interval that the job's own is, at most, for that to be said.
_MUCH = 2 / 3
#: Share from which on it is said in numbers.
_KNOWN = 0.001
#: Components that are named in a line.
_NAMED = 5


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
    rows: Sequence[ComponentRow],
    coverage: Coverage,
    progress: Progress,
    *,
    interval: str = POPULATION,
    simultaneous: bool = False,
    job: JobRecord,
    method: str | None = None,
) -> None:
    """Print how much was patched exactly, and which mean the intervals are for."""
    if not coverage.patched:
        return
    say(f"{coverage.patched:,} of {coverage.cells:,} cells ({percent(coverage.share)}) were patched exactly")
    if job.estimator(method) == COMBINED:
        first, *others = job.spec.query.method_names
        every = f"{', '.join((first, *others[:-1]))} and {others[-1]}"
        say(f"Estimates: from the scores of {every} together (--method {first}: of one alone)")
    if any(row.shrunk for row in rows):
        say("Few cells: fewer than three; the estimate is shrunk toward the mean score")
    if any(row.ci_low is not None for row in rows):
        pairs = f"these {counted(progress.done, 'pair')}"
        of_groups = "" if job.groups is None else f", in {counted(job.groups, 'group')},"
        source = f"the population that {pairs}{of_groups} are a sample of"
        kind, other = (source, pairs) if interval == POPULATION else (pairs, source)
        option = PAIRS if interval == POPULATION else POPULATION
        at_once = ", all components at once" if simultaneous else ""
        say(
            f"Intervals: 95 %{at_once}, for {kind} (--interval {option}: for {other}{_times(rows, interval)})"
        )
    elif interval == POPULATION and any(row.pairs_low is not None for row in rows):
        why = "all pairs are of one group" if job.groups == 1 else "one pair says nothing of others"
        say(f"No intervals for the population: {why} (--interval {PAIRS}: for these pairs)")
    heavy = [row.name for row in rows if row.heavy]
    if heavy:
        names = ", ".join(heavy[:_NAMED]) + (", …" if len(heavy) > _NAMED else "")
        say(
            f"{names}: few cells carry the variance, and the interval may be too short: "
            "`patchgrid job refine JOB --components NAME` patches all pairs"
        )


def _times(rows: Sequence[ComponentRow], interval: str) -> str:
    """Say how much narrower the intervals for the job's own pairs are, where that is much."""
    widths = [(_width(row.ci_low, row.ci_high), _width(row.pairs_low, row.pairs_high)) for row in rows]
    parts = sorted(own / whole for whole, own in widths if whole and own is not None)
    if interval != POPULATION or not parts or parts[len(parts) // 2] > _MUCH:
        return ""
    middle = parts[len(parts) // 2]
    return f", {percent(middle)} as wide" if middle > _KNOWN else ", most are known exactly"


def _width(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else high - low


def _estimate(row: ComponentRow) -> tuple[str, str]:
    """Format the estimate and its interval; an unbounded one, or none, as text, like the page."""
    if row.shrunk:
        return number(row.estimate, sign=True), "few cells"
    if row.unbounded:
        return number(row.estimate, sign=True), "no bound"
    estimate, interval = with_interval(row.estimate, row.ci_low, row.ci_high)
    return estimate, NONE if row.estimate is None else interval
