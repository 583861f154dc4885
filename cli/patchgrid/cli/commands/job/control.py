"""`patchgrid job pause`, `resume`, `cancel`, `retry` and `delete`."""

from collections.abc import Sequence

import click

from patchgrid.api.client.backends.backend import Backend
from patchgrid.api.client.backends.database import DatabaseBackend
from patchgrid.api.client.measuring import run_here
from patchgrid.cli.context import Settings, with_broker, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.execution.broker import check_broker
from patchgrid.cli.execution.execution import Machine, engine_for, show_outcome, stop_and_bar
from patchgrid.cli.options import job_argument, machine_options
from patchgrid.cli.terminal.screen import counted, say, show_json, visible
from patchgrid.core.states import FINISHED_JOBS, JobState
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.workers.errors import JobCancelledError

everyone_option = click.option(
    "--everyone", is_flag=True, help="Act for all owners of the job; through a server, admins only."
)


@click.command()
@job_argument
@everyone_option
@with_settings
def cancel(settings: Settings, /, name: str, everyone: bool) -> None:
    """Cancel a job: its pending chunks are not measured.

    Stored results stay; chunks being measured are dropped. Submitting the same pairs again, or `job retry`,
    reopens the job. A job that others also submitted continues for them; you only withdraw. A job that is
    being refined (`job refine`) is done again, and keeps what was patched so far.
    """
    with settings.backend() as source:
        record, progress, left = source.cancel(name, everyone=everyone)
    _show_state(settings, record)
    if left:
        say(f"You withdrew from job {record.id}; it continues for {_names(left)}, who also submitted it")
        return
    if record.state == JobState.DONE:
        say(f"Round {record.rounds} of job {record.id} is cancelled; the job keeps what it has patched")
        return
    say(f"Job {record.id} is cancelled: {_measured(progress)}. To retry: {_retry(settings, record)}")


@click.command()
@job_argument
@with_settings
def pause(settings: Settings, /, name: str) -> None:
    """Pause a job: chunks being measured are finished, no new ones are started."""
    with settings.backend() as source:
        record, progress = source.pause(name)
    _show_state(settings, record)
    leased = f", {counted(progress.chunks_leased, 'chunk')} still running" if progress.chunks_leased else ""
    go_on = settings.command(f"job resume {record.id}")
    say(f"Job {record.id} is paused: {_measured(progress)}{leased}. To resume: {go_on}")


@click.command()
@job_argument
@with_broker
def retry(settings: Settings, /, name: str) -> None:
    """Retry a job's failed or cancelled chunks.

    Failed chunks are those that lost their workers too often. Pairs with a permanent error (an answer of
    several tokens) are not retried.
    """
    check_broker(settings.broker)
    with settings.backend() as source:
        record, progress, again = source.retry(name)
        if settings.json:
            show_json({"job": record.id, "state": record.state, "chunks": again})
        if not again:
            say(f"Job {record.id} has nothing to retry: {_measured(progress)}")
            return
        say(f"Job {record.id}: {counted(again, 'chunk')} to retry")
        source.wake(record.id)
    say(_watch(settings, record))


@click.command()
@job_argument
@click.option(
    "--here", is_flag=True, help="Run a paused job in this process; jobs that are not paused always do."
)
@machine_options
@with_broker
def resume(settings: Settings, /, name: str, here: bool, device: str, batch_tokens: int | None) -> int | None:
    """Resume a job.

    A paused job is unpaused for its workers, and the command ends. A job that is not paused runs in this
    process, alongside any workers; pairs that failed because their process died repeatedly are retried, pairs
    with a permanent error (an answer of several tokens) are not.

    With --server no job runs here: a paused job is unpaused for its workers, any other is left unchanged.
    """
    check_broker(settings.broker)
    with settings.backend() as source:
        record = source.job(name)
        paused = record.state == JobState.PAUSED
        if here or not paused:
            _check_here(source, record)
        if paused:
            record, _ = source.resume(name)
        if paused and not here:
            _show_state(settings, record)
            say(f"Job {record.id} resumed")
            source.wake(record.id)
            say(_watch(settings, record))
            return None
    return _run_here(settings, record, Machine(device, batch_tokens))


@click.command()
@job_argument
@everyone_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@with_settings
def delete(settings: Settings, /, name: str, everyone: bool, yes: bool) -> None:
    """Delete a job with its pairs and results.

    A job that others also submitted is kept for them; you only withdraw.
    """
    with settings.backend() as source:
        record = source.job(name)
        title = f"job {record.id}" + (f" ({visible(record.name)})" if record.name else "")
        if not yes:
            click.confirm(
                f"Delete {title}, {counted(record.pairs, 'pair')}, and its results?", abort=True, err=True
            )
        left = source.delete(record, everyone=everyone)
    if settings.json:
        show_json({"deleted": None if left else record.id})
    if left:
        say(f"You withdrew from {title}; it is kept for {_names(left)}, who also submitted it")
    else:
        say(f"Deleted {title}")


def _run_here(settings: Settings, record: JobRecord, machine: Machine) -> int:
    with settings.open() as database:
        source = DatabaseBackend(database, user=settings.user)
        if record.state in FINISHED_JOBS and not source.progress(record).chunks_failed:
            say(f"Job {record.id} is complete; showing its results")
            return show_outcome(settings, source, record.id, None)
        if record.state == JobState.CANCELLED:
            raise JobCancelledError(record.id)
        engine = engine_for(record.spec, machine)
        elapsed = run_here(database, engine, record, batch_tokens=machine.batch_tokens, **stop_and_bar())
        return show_outcome(settings, source, record.id, elapsed)


def _check_here(source: Backend, record: JobRecord) -> None:
    """Refuse to measure a server's job here: what measures writes to the database itself."""
    if source.database is not None:
        return
    paused = record.state == JobState.PAUSED
    instead = "omit --here to let its workers resume it" if paused else "its workers run it"
    raise UsageError(
        f"job {record.id} is {record.state} and cannot be run here through a server: {instead}, or "
        "this command where the database is, with --db"
    )


def _names(owners: Sequence[str]) -> str:
    return visible(", ".join(owners))


def _show_state(settings: Settings, record: JobRecord) -> None:
    if settings.json:
        show_json({"job": record.id, "state": record.state})


def _measured(progress: Progress) -> str:
    return f"{progress.done:,} of {counted(progress.total, 'pair')} measured"


def _retry(settings: Settings, record: JobRecord) -> str:
    return settings.command(f"job retry {record.id}")


def _watch(settings: Settings, record: JobRecord) -> str:
    return f"Follow it: {settings.command(f'job watch {record.id}')}"
