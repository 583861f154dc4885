"""`patchgrid results top`."""

from collections.abc import Sequence
from typing import Any

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.options import count_option, estimator_option, job_argument, normalise_option, one_of
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.views.component_table import say_intervals, show_components
from patchgrid.cli.views.missed_table import missed_line
from patchgrid.cli.views.rounding_notes import show_rounding
from patchgrid.cli.views.summary import say_unfinished
from patchgrid.cli.views.task_notes import say_shares, show_task
from patchgrid.core.names import INTERVALS, POPULATION
from patchgrid.core.text.number_format import percent
from patchgrid.storage.output.documents import components_json
from patchgrid.storage.results.components import ORDERS, ComponentRow, Discoveries
from patchgrid.storage.results.normalised import FLOOR_UNIT, Normalised
from patchgrid.storage.results.rounding import shown_rounding
from patchgrid.storage.subsets.missed import CONFIDENCE


@click.command()
@job_argument
@count_option(20, "Number of components.")
@click.option(
    "--by",
    default="estimate",
    show_default=True,
    metavar=one_of(ORDERS),
    help="Order by the size of the estimate, of the mean score, or by the mean of |score|.",
)
@click.option("--site", metavar="SITE", help="Only this site.")
@click.option(
    "--interval",
    default=POPULATION,
    show_default=True,
    metavar=one_of(INTERVALS),
    help="Intervals for the mean over the population that the pairs are a sample of, or over these pairs.",
)
@click.option(
    "--simultaneous",
    is_flag=True,
    help="Intervals that hold for all components of these sites at once, not for each one alone.",
)
@click.option(
    "--effect-above",
    type=click.FloatRange(min=0),
    metavar="SIZE",
    help="All components whose mean effect exceeds this size, with --fdr of them falsely at most.",
)
@click.option(
    "--fdr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="False discovery rate of the list that --effect-above makes.  [default: 0.05]",
)
@normalise_option
@estimator_option
@with_settings
def top(
    settings: Settings,
    /,
    name: str,
    count: int,
    by: str,
    site: str | None,
    interval: str,
    simultaneous: bool,
    effect_above: float | None,
    fdr: float | None,
    normalise: bool,
    method: str | None,
) -> None:
    """Show a job's strongest components.

    `mean score` is the method's mean over the pairs; `estimate` is the mean effect, corrected by the `exact`
    cells that were patched exactly, with its 95 % interval (`-` if the sample gives none, `no bound` if it is
    too wide to be useful). Both are in units of the job's metric, or with --normalise shares of its mean
    clean - corrupted metric. The interval is for the mean over the population that the pairs are a sample of;
    with --interval pairs, over these pairs alone.

    Where a job has several methods, estimates are made from the scores of all of them together, and `mean
    score` is by the first; --method shows those of one method alone.
    """
    if fdr is not None and effect_above is None:
        raise UsageError("--fdr is for the list that --effect-above makes: give --effect-above, too")
    found = None if effect_above is None else Discoveries(effect_above, fdr or 0.05)
    kind: dict[str, Any] = {"interval": interval, "simultaneous": simultaneous}
    with settings.backend() as source:
        job = source.job(name)
        numbers = Normalised(source) if normalise else source
        if found is None:
            rows = numbers.top(job, count, by, site=site, method=method, **kind)
        else:
            rows = numbers.components(job, site=site, method=method, by=by, discoveries=found, **kind)
        progress, patched = source.progress(job), source.coverage(job, site)
        task = source.task(job)
        rounding = numbers.rounding(job)
        missed = source.missed(job, confidence=CONFIDENCE, limit=0)
        show_task(task)
        if normalise:
            say_shares(task, job)
    unit = FLOOR_UNIT if normalise else job.spec.metric
    if settings.json:
        floor = shown_rounding(rounding, rows, unit)
        notes: dict[str, Any] = {"task": task, "rounding": floor, "discoveries": found, **kind}
        show_json(components_json(job, method, rows, patched, **notes))
        return
    if rows:
        show_components(rows, absolute=by == "mean_abs")
        say_intervals(rows, patched, progress, job=job, method=method, **kind)
        show_rounding(rounding, rows, unit)
    if found is not None:
        say(_discovered(rows, found, unit))
    for each in missed:
        if site in (None, each.site):
            say(missed_line(each, job.spec.metric))
    if rows and not patched.patched:
        why = "the budget of exact patching is too small for a cell" if job.patched else "--exact 0"
        say(f"Nothing was patched exactly ({why}): these are mean scores, not verified")
    say_unfinished(settings, job, progress)


def _discovered(rows: Sequence[ComponentRow], found: Discoveries, unit: str) -> str:
    """Say what a list of discoveries is."""
    if not rows:
        size = f"{found.above:g} {unit}"
        return f"No component's mean effect exceeds {size} at a false discovery rate of {found.rate:g}"
    these = "This mean effect exceeds" if len(rows) == 1 else f"These {len(rows):,} mean effects exceed"
    return (
        f"{these} {found.above:g} {unit} in size; on average {percent(found.rate)} of such a list is wrong "
        "(Benjamini-Hochberg)"
    )
