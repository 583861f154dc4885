"""`patchgrid job`: the jobs of a database."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.execution import Machine, engine_for, show_outcome, work_off
from patchgrid.cli.finding import find_job, job_argument
from patchgrid.cli.jobview import job_json, show_job, show_jobs
from patchgrid.cli.options import machine_options
from patchgrid.cli.screen import counted, say, show_json, visible
from patchgrid.cli.summary import FINISHED
from patchgrid.cli.tables import Column, show_table
from patchgrid.storage import jobs


@click.group()
def job() -> None:
    """List, show, resume and delete jobs. JOB is an id, a name, or `last`."""


@job.command("list")
@with_settings
def list_(settings: Settings, /) -> None:
    """List the jobs, the oldest first."""
    with settings.reading() as session:
        found = [(record, jobs.progress(session, record.id)) for record in jobs.list_jobs(session)]
    if settings.json:
        show_json([job_json(record, progress) for record, progress in found])
    elif found:
        show_jobs(found)
    else:
        say("No jobs yet: start one with patchgrid run PAIRS -m MODEL")


@job.command()
@job_argument
@with_settings
def show(settings: Settings, /, name: str) -> None:
    """Show what a job measures, how far it is, what made it.

    And, once something was patched exactly, how well its scores agree with that.
    """
    with settings.reading() as session:
        show_job(settings, session, find_job(session, name))


@job.command()
@job_argument
@with_settings
def errors(settings: Settings, /, name: str) -> None:
    """List the pairs that could not be measured, with reasons."""
    with settings.reading() as session:
        record = find_job(session, name)
        found = jobs.errors(session, record.id)
    if settings.json:
        show_json([{"pair": pair, "error": error} for pair, error in found])
    elif found:
        show_table([Column("pair"), Column("reason")], found)
    else:
        say(f"Job {record.id} has no failed pairs")


@job.command()
@job_argument
@machine_options
@with_settings
def resume(settings: Settings, /, name: str, device: str, batch_tokens: int | None) -> int:
    """Go on with a job where it stopped.

    Pairs that were given up after their process died repeatedly are tried again; pairs that failed by
    themselves (an answer of several tokens) are not.
    """
    machine = Machine(device, batch_tokens)
    with settings.open() as database:
        with database.write() as session:
            record = find_job(session, name)
            given_up = jobs.progress(session, record.id).chunks_failed
        if record.state in FINISHED and not given_up:
            say(f"Job {record.id} has nothing left to do; these are its results")
            return show_outcome(settings, database, record.id, None)
        elapsed = work_off(database, engine_for(record.spec, machine), record, machine)
        return show_outcome(settings, database, record.id, elapsed)


@job.command()
@job_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@with_settings
def delete(settings: Settings, /, name: str, yes: bool) -> None:
    """Delete a job with its pairs and all its results."""
    with settings.reading() as session:
        record = find_job(session, name)
    title = f"job {record.id}" + (f" ({visible(record.name)})" if record.name else "")
    if not yes:
        click.confirm(
            f"Delete {title}, {counted(record.pairs, 'pair')}, and its results?", abort=True, err=True
        )
    with settings.writing() as session:
        jobs.delete(session, record.id)
    if settings.json:
        show_json({"deleted": record.id})
    say(f"Deleted {title}")
