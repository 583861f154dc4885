"""`patchgrid results pair`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import count_option, job_argument, method_option, normalise_option
from patchgrid.cli.terminal.screen import show_json
from patchgrid.cli.views.pair_view import show_pair
from patchgrid.storage.output.documents import pair_json
from patchgrid.storage.results.normalised import UNIT, Normalised


@click.command()
@job_argument
@click.argument("name_of_pair", metavar="PAIR")
@count_option(10, "Number of components.")
@normalise_option
@method_option
@with_settings
def pair(
    settings: Settings, /, name: str, name_of_pair: str, count: int, normalise: bool, method: str | None
) -> None:
    """Show one pair: its tokens, both metrics, its strongest components, its exact effects.

    PAIR is its id in the pair file, or its row number from 0. Where a token differs in the corrupted prompt,
    both are shown. Positions need a job with --detail positions; without it, only the pair's 20 largest
    neurons and edges by the job's first method are stored.
    """
    with settings.backend() as source:
        job = source.job(name)
        view = (Normalised(source) if normalise else source).pair(job, name_of_pair, method)
    if settings.json:
        show_json(pair_json(job, view))
    else:
        show_pair(settings, job, view, count, unit=UNIT if normalise else None)
