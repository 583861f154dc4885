"""`patchgrid results verify`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.options import count_option, job_argument, normalise_option
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.views.agreement_table import show_agreement, show_furthest
from patchgrid.cli.views.summary import say_unfinished
from patchgrid.cli.views.task_notes import say_shares, show_task
from patchgrid.storage.output.documents import furthest_json, verification_json
from patchgrid.storage.results.normalised import FLOOR_UNIT, Normalised
from patchgrid.storage.results.rounding import floor_words


@click.command()
@job_argument
@count_option(10, "Length of the top lists to compare.")
@normalise_option
@click.option(
    "--furthest",
    metavar="SITE",
    help="Show the K components of this site whose scores are furthest from their exact effects instead.",
)
@with_settings
def verify(settings: Settings, /, name: str, count: int, normalise: bool, furthest: str | None) -> None:
    """Show how well a job's scores agree with exact patching, by site and method.

    First each component's mean score against its estimated mean effect: Pearson correlation and slope of
    effect on score; then the share of the cells that matter whose score has the effect's sign, and how many
    of the k components with the largest mean score are also the k with the largest estimate. The cells that
    matter are those of largest |effect| that carry 95 % of the sum of |effect|. ± is the standard error.

    The second table has the same within components and over all cells, weighted to represent all cells. The
    lines below give the time to score 1,000 pairs by each method alone, and to patch them exactly, and say
    which method to use at each site, as far as the standard errors allow it.
    """
    with settings.backend() as source:
        job = source.job(name)
        if furthest is not None:
            if normalise:
                raise UsageError("--furthest is in units of the metric: omit --normalise")
            cells = source.furthest(job, furthest, limit=count)
            if settings.json:
                show_json(furthest_json(job, furthest, None, cells))
            else:
                show_furthest(cells)
            return
        numbers = Normalised(source) if normalise else source
        agreement, cost = numbers.verification(job, count)
        progress = source.progress(job)
        task = source.task(job)
        rounding = numbers.rounding(job)
        show_task(task)
        if normalise:
            say_shares(task, job)
    if settings.json:
        show_json(verification_json(job, agreement, cost, task=task, rounding=rounding))
        return
    if agreement:
        show_agreement(settings, job, agreement, cost, detail=True)
        if rounding is not None:
            say(floor_words(rounding, FLOOR_UNIT if normalise else job.spec.metric))
    elif not job.patched:
        say("Nothing was patched exactly: run the pairs with --exact above 0")
    say_unfinished(settings, job, progress)
