"""`patchgrid job watch` and `wait`: following a job that workers run."""

import sys
import time
from collections.abc import Iterator
from itertools import chain

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import INTERRUPTED, OUT_OF_TIME, UsageError
from patchgrid.cli.options import job_argument
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.views.summary import exit_code, say_ended
from patchgrid.cli.views.watching import feed, is_alone, no_worker, shown
from patchgrid.core.states import JobState
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.documents import snapshot_json
from patchgrid.storage.queue.job_status import Snapshot


@click.command()
@job_argument
@with_settings
def watch(settings: Settings, /, name: str) -> int:
    """Watch a job until it ends; the exit code is the job's.

    On a terminal it shows a live screen: pairs, chunks by state, speed, time left, workers. Otherwise it
    prints a line every few seconds, with --json one JSON document per line at every change. Ctrl-C stops
    watching, not the job.
    """
    with settings.backend() as source:
        record = source.job(name)
        try:
            with shown(settings, sys.stdout, as_json=settings.json) as show:
                last = feed(show, source.follow(record))
        except KeyboardInterrupt:
            say(f"Stopped watching; job {record.id} continues")
            return INTERRUPTED
    say_ended(settings, last.job, last.progress)
    return exit_code(last.job, last.progress)


@click.command()
@job_argument
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Longest wait.  [default: no limit]"
)
@with_settings
def wait(settings: Settings, /, name: str, timeout: float | None) -> int:
    """Wait silently until a job ends; the exit code is the job's.

    The exit code is 124 after --timeout. A job that is already paused is refused; one that is paused during
    the wait is waited for.
    """
    with settings.backend() as source:
        record = source.job(name)
        refuse_paused(settings, record)
        snapshots = source.follow(record)
        first = next(snapshots)
        if is_alone(first):
            say(no_worker(settings, record.spec.model))
        last = _last_in_time(chain([first], snapshots), timeout)
    if settings.json:
        show_json(snapshot_json(last))
    if not last.ended:
        say(f"Job {record.id} is still {last.job.state} after {timeout:g} s")
        return OUT_OF_TIME
    say_ended(settings, last.job, last.progress)
    return exit_code(last.job, last.progress)


def refuse_paused(settings: Settings, record: JobRecord) -> None:
    """Refuse to wait for a paused job."""
    if record.state == JobState.PAUSED:
        command = settings.command(f"job resume {record.id}")
        raise UsageError(f"job {record.id} is paused and would never end; to resume: {command}")


def _last_in_time(snapshots: Iterator[Snapshot], timeout: float | None) -> Snapshot:
    """Return the last snapshot, or the one at the timeout."""
    end = None if timeout is None else time.monotonic() + timeout
    last = next(snapshots)
    for last in snapshots:  # noqa: B007
        if end is not None and time.monotonic() >= end:
            break
    return last
