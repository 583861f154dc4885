"""`patchgrid job watch` and `wait`: following a job that workers work off."""

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

    On a terminal the screen is kept up to date: pairs, chunks by state, speed, time left, workers. Elsewhere
    a line is written every few seconds, with --json a JSON document a line at every change. Ctrl-C ends the
    watching, not the job.
    """
    with settings.asking() as source:
        record = source.job(name)
        try:
            with shown(settings, sys.stdout, as_json=settings.json) as show:
                last = feed(show, source.follow(record))
        except KeyboardInterrupt:
            say(f"Stopped watching; job {record.id} goes on")
            return INTERRUPTED
    say_ended(settings, last.job, last.progress)
    return exit_code(last.job, last.progress)


@click.command()
@job_argument
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than this.")
@with_settings
def wait(settings: Settings, /, name: str, timeout: float | None) -> int:
    """Wait until a job ends, and say nothing meanwhile; the exit code is the job's.

    124 is the exit code if --timeout runs out first. A paused job is not waited for, unless it is paused
    while someone waits.
    """
    with settings.asking() as source:
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
        say(f"Job {record.id} is {last.job.state} still: waited {timeout:g} s for it")
        return OUT_OF_TIME
    say_ended(settings, last.job, last.progress)
    return exit_code(last.job, last.progress)


def refuse_paused(settings: Settings, record: JobRecord) -> None:
    """Refuse to wait for what nobody works on."""
    if record.state == JobState.PAUSED:
        command = settings.command(f"job resume {record.id}")
        raise UsageError(f"job {record.id} is paused, and waiting would not end: {command}")


def _last_in_time(snapshots: Iterator[Snapshot], timeout: float | None) -> Snapshot:
    """Give the last snapshot, or the one after which the time is up."""
    end = None if timeout is None else time.monotonic() + timeout
    last = next(snapshots)
    for last in snapshots:  # noqa: B007
        if end is not None and time.monotonic() >= end:
            break
    return last
