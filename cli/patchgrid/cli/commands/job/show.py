"""`patchgrid job list`, `show` and `errors`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import job_argument
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.cli.views.job_view import show_job, show_jobs
from patchgrid.storage.output.documents import job_json


@click.command("list")
@with_settings
def list_(settings: Settings, /) -> None:
    """List all jobs, oldest first."""
    with settings.backend() as source:
        listed = list(source.jobs())[::-1]
    if settings.json:
        show_json([job_json(record, progress) for record, progress in listed])
    elif listed:
        show_jobs(listed)
    else:
        say("No jobs yet: create one with `patchgrid run` or `patchgrid submit`")


@click.command()
@job_argument
@with_settings
def show(settings: Settings, /, name: str) -> None:
    """Show a job's settings, progress and provenance.

    Once cells were patched exactly, also how well scores agree with them.
    """
    with settings.backend() as source:
        record = source.job(name)
        standing = source.standing(record)
        agreement, cost = source.verification(record)
        refinements = source.refinements(record)
    show_job(settings, standing, agreement, cost, refinements)


@click.command()
@job_argument
@with_settings
def errors(settings: Settings, /, name: str) -> None:
    """List the pairs that failed, with reasons."""
    with settings.backend() as source:
        record = source.job(name)
        listed = source.errors(record)
    if settings.json:
        show_json([{"pair": pair, "error": error} for pair, error in listed])
    elif listed:
        show_table([Column("pair"), Column("reason")], listed)
    else:
        say(f"Job {record.id} has no failed pairs")
