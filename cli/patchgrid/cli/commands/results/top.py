"""`patchgrid results top`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import count_option, job_argument, method_option, normalise_option, one_of
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.views.component_table import say_intervals, show_components
from patchgrid.cli.views.missed_table import missed_line
from patchgrid.cli.views.rounding_notes import show_rounding
from patchgrid.cli.views.summary import say_unfinished
from patchgrid.cli.views.task_notes import say_shares, show_task
from patchgrid.storage.output.documents import components_json
from patchgrid.storage.results.components import ORDERS
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
    "--population",
    is_flag=True,
    help="Intervals for the mean over the population that the pairs were drawn from: wider than for the mean "
    "over this job's pairs.",
)
@normalise_option
@method_option
@with_settings
def top(
    settings: Settings,
    /,
    name: str,
    count: int,
    by: str,
    site: str | None,
    population: bool,
    normalise: bool,
    method: str | None,
) -> None:
    """Show a job's strongest components.

    `mean score` is the method's mean over the pairs; `estimate` is the mean effect, corrected by the `exact`
    cells that were patched exactly, with its 95 % interval (`-` if the sample gives none, `no bound` if it is
    too wide to be useful). Both are in units of the job's metric, or with --normalise shares of its mean
    clean - corrupted metric. The interval is for the mean over this job's pairs; with --population, for the
    mean over the population of pairs.
    """
    with settings.backend() as source:
        job = source.job(name)
        numbers = Normalised(source) if normalise else source
        rows = numbers.top(job, count, by, site=site, population=population, method=method)
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
        show_json(components_json(job, method, rows, patched, task=task, rounding=floor))
        return
    if rows:
        show_components(rows, absolute=by == "mean_abs")
        say_intervals(rows, patched, progress, population=population)
        show_rounding(rounding, rows, unit)
    for each in missed:
        if site in (None, each.site):
            say(missed_line(each, job.spec.metric))
    if rows and not patched.patched:
        why = "the budget of exact patching is too small for a cell" if job.patched else "--exact 0"
        say(f"Nothing was patched exactly ({why}): these are mean scores, not verified")
    say_unfinished(settings, job, progress)
