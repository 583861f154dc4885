"""`patchgrid results top`."""

import click

from patchgrid.cli.componenttable import show_components
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import count_option, job_argument, method_option, normalise_option, one_of
from patchgrid.cli.screen import say, show_json
from patchgrid.cli.summary import say_unfinished
from patchgrid.cli.tasknotes import say_shares, show_task
from patchgrid.storage.components import ORDERS
from patchgrid.storage.documents import component_json
from patchgrid.storage.normalised import Normalised


@click.command()
@job_argument
@count_option(20, "How many.")
@click.option(
    "--by",
    default="estimate",
    show_default=True,
    metavar=one_of(ORDERS),
    help="Size by which they are ordered: of the estimate, of the mean score, or the mean of |score|.",
)
@click.option("--site", metavar="SITE", help="Only this site.")
@click.option(
    "--population",
    is_flag=True,
    help="Intervals for where the pairs came from, not for this job's pairs alone: wider.",
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
    cells that were patched exactly, with its 95 % interval (`-` where the sample does not give one).
    Both are in units of the job's metric, or with --normalise shares of its mean clean - corrupted metric.
    """
    with settings.asking() as source:
        job = source.job(name)
        numbers = Normalised(source) if normalise else source
        rows = numbers.top(job, count, by, site=site, population=population, method=method)
        progress = source.progress(job)
        task = source.task(job)
        show_task(task)
        if normalise:
            say_shares(task, job)
    if settings.json:
        show_json([component_json(row) for row in rows])
        return
    if rows:
        show_components(rows, absolute=by == "mean_abs")
    if rows and not any(row.exact_n for row in rows):
        say("Nothing was patched exactly (--exact 0): these are attribution's means, unverified")
    say_unfinished(settings, job, progress)
