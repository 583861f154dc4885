"""`patchgrid results missed`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import count_option, job_argument
from patchgrid.cli.terminal.screen import show_json
from patchgrid.cli.views.missed_table import confidence_option, show_missed
from patchgrid.storage.subsets.missed import missed_json


@click.command()
@job_argument
@count_option(10, "Number of components.")
@click.option("--site", metavar="SITE", help="Only this site.")
@confidence_option
@with_settings
def missed(settings: Settings, /, name: str, count: int, site: str | None, confidence: float) -> None:
    """Show bounds on the effects of rarely patched components, as `job missed` measured them.

    For components patched in fewer than three pairs. `among others` is the mean effect as estimated from the
    subsets that a component was in: where effects do not add up, it is that of patching it while a sixteenth
    of the others is patched as well. Intervals hold for all components together. A component that stands out
    does more, or less, than its score says.
    """
    with settings.backend() as source:
        job = source.job(name)
        found = source.missed(job, site, confidence=confidence, limit=count)
    if settings.json:
        show_json({"job": job.id, "items": missed_json(found)})
    else:
        show_missed(settings, job, found)
