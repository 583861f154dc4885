"""`patchgrid results certificate`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import job_argument
from patchgrid.cli.terminal.screen import show_json
from patchgrid.cli.views.refinement_view import show_refinement
from patchgrid.storage.output.refinements import refinement_json
from patchgrid.storage.rounds.requests import find_certificate


@click.command()
@job_argument
@click.option(
    "--number",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refinement of the job that made it.  [default: the latest certificate]",
)
@with_settings
def certificate(settings: Settings, /, name: str, number: int | None) -> None:
    """Show a certificate of a job: which components certainly have the largest mean effects.

    `in` is certainly among the K largest, `out` certainly not, `tied` as large as the K-th within the
    tolerance, `undecided` not known yet. The confidence sequences hold for all components and at all times
    together. --json prints all of it, with what is needed to check it.

    Make one with `patchgrid job refine JOB --certify top=10`, or `run --certify top=10`.
    """
    with settings.backend() as source:
        job = source.job(name)
        record = find_certificate(job.id, source.refinements(job), number)
    if settings.json:
        show_json({"job": job.id, "state": job.state, "refinement": refinement_json(record)})
    else:
        show_refinement(settings, job, record)
