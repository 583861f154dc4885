"""Showing a running job: a live screen, lines, or JSON."""

import json
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from patchgrid.api.client.pace import Pace, Speed
from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import counted, visible
from patchgrid.cli.views.chunk_notes import chunk_words
from patchgrid.cli.views.worker_table import short_name, speed
from patchgrid.core.plain import plain
from patchgrid.core.states import JobState
from patchgrid.core.text.wording import short_model, size
from patchgrid.storage.output.documents import snapshot_json
from patchgrid.storage.output.refinements import boundary_words
from patchgrid.storage.queue.job_status import Snapshot

#: Seconds between two lines where there is no terminal.
LINE_EVERY = 5.0
#: Workers and load failures that the live screen has room for.
_SHOWN_WORKERS, _SHOWN_FAILURES = 8, 3


class Show(ABC):
    """Something that a job's snapshots are shown on."""

    @abstractmethod
    def update(self, snapshot: Snapshot) -> None:
        """Show how the job is now."""


@contextmanager
def shown(settings: Settings, stream: IO[str], *, as_json: bool = False) -> Iterator[Show]:
    """Yield a display of a job on `stream`: live on a terminal, else a line at intervals."""
    if as_json:
        yield _JsonLines(stream)
    elif stream.isatty():
        console = Console(file=stream, markup=False, highlight=False)
        with Live(console=console, refresh_per_second=4) as live:
            yield _Screen(settings, live)
    else:
        yield _Lines(settings, stream)


class _Screen(Show):
    def __init__(self, settings: Settings, live: Live) -> None:
        self._settings, self._live, self._speed = settings, live, Speed()

    def update(self, snapshot: Snapshot) -> None:
        pace = self._speed.pace(snapshot)
        self._live.update(Group(*screen_parts(self._settings, snapshot, pace)))


class _Lines(Show):
    """Writes a line when the state changes, and every `LINE_EVERY` seconds if anything else did."""

    def __init__(self, settings: Settings, stream: IO[str]) -> None:
        self._settings, self._stream, self._speed = settings, stream, Speed()
        self._last = -LINE_EVERY
        self._before: tuple[object, object] = ((None, None), None)

    def update(self, snapshot: Snapshot) -> None:
        pace = self._speed.pace(snapshot)
        now = (snapshot.job.state, snapshot.job.rounds), snapshot.progress
        due = time.monotonic() - self._last >= LINE_EVERY and now != self._before
        if due or now[0] != self._before[0]:
            self._last, self._before = time.monotonic(), now
            chunks = chunk_words(snapshot.progress)
            words = f"{snapshot.job.state}: {pace.words}; chunks: {chunks}"
            words += f"; {boundary}" if (boundary := _boundary(snapshot)) else ""
            click.echo(
                words if snapshot.ended else f"{words}; {_hands(self._settings, snapshot)}", self._stream
            )


class _JsonLines(Show):
    """Writes a JSON document on a line of its own at every change."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._speed = stream, Speed()
        self._before: object = None

    def update(self, snapshot: Snapshot) -> None:
        document = snapshot_json(snapshot)
        pace = self._speed.pace(snapshot)
        if document != self._before:
            self._before = document
            rate = pace.rate
            left = (pace.total - pace.reached) / rate if rate else None
            timed = document | {"pairs_per_second": rate, "seconds_left": left}
            click.echo(json.dumps(plain(timed), ensure_ascii=False, allow_nan=False), self._stream)


def _hands(settings: Settings, snapshot: Snapshot) -> str:
    """Describe its workers; if none, whether any could run it."""
    if snapshot.at_work:
        return counted(len(snapshot.at_work), "worker")
    if snapshot.progress.chunks_leased:
        return "leased to a process that is not a worker (patchgrid run), or to a lost one"
    if snapshot.serving:
        return f"no worker on it ({snapshot.serving:,} serve its model)"
    return no_worker(settings, snapshot.job.spec.model).replace("No", "no", 1)


def _boundary(snapshot: Snapshot) -> str | None:
    """Say how far the certificate is that runs: `certificate: 8 in, 317 out, 5 undecided, …`."""
    record = snapshot.refinement
    if record is None or record.certificate is None or snapshot.ended:
        return None
    return f"top {record.request.certify}: {boundary_words(record.certificate)}"


def screen_parts(settings: Settings, snapshot: Snapshot, pace: Pace) -> Iterator[RenderableType]:
    """Yield the parts of the live screen from top to bottom."""
    job = snapshot.job
    name = f" ({visible(job.name)})" if job.name else ""
    yield Text(f"Job {job.id}{name} {job.state}, {visible(short_model(job.spec.model))}", style="bold")
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=pace.total, completed=pace.reached, width=20), Text(pace.words))
    yield line
    yield Text(f"chunks: {chunk_words(snapshot.progress)}")
    if boundary := _boundary(snapshot):
        yield Text(boundary)
    if not snapshot.ended:
        yield from _who(settings, snapshot)


def _who(settings: Settings, snapshot: Snapshot) -> Iterator[RenderableType]:
    job = snapshot.job
    if snapshot.at_work:
        yield Text()
        yield _workers(snapshot)
        more = len(snapshot.at_work) - _SHOWN_WORKERS
        if more > 0:
            yield Text(f"and {more:,} more: {settings.command('worker list')}")
    elif job.state == JobState.PAUSED:
        yield Text(f"Paused; to resume: {settings.command(f'job resume {job.id}')}")
    elif snapshot.serving or snapshot.progress.chunks_leased:
        yield Text(_hands(settings, snapshot).capitalize())
    else:
        yield Text(no_worker(settings, job.spec.model))
    for failure in snapshot.load_failures[:_SHOWN_FAILURES]:
        yield Text(f"{visible(failure.worker)} cannot load the model: {visible(failure.error)}")


def start_command(settings: Settings, model: str) -> str:
    """Write the command that starts a worker for a model."""
    command = settings.database_command(f"worker start --model {shlex.quote(visible(model))}")
    if settings.server is not None:
        return f"{command} --db URL (the server's database)"
    # The one that is named with a password is the worker's environment's.
    broker = settings.broker if settings.broker and "@" not in settings.broker else None
    return command if broker is None else f"{command} --broker {shlex.quote(broker)}"


def no_worker(settings: Settings, model: str) -> str:
    """Say that nobody serves a model, and which command starts a worker."""
    return f"No worker serves its model: {start_command(settings, model)}"


def is_alone(snapshot: Snapshot) -> bool:
    """Tell whether a job waits for a worker that nobody has started."""
    waits = not snapshot.ended and snapshot.job.state != JobState.PAUSED
    return waits and not (snapshot.at_work or snapshot.serving or snapshot.progress.chunks_leased)


def _workers(snapshot: Snapshot) -> Table:
    table = Table.grid(padding=(0, 2))
    for each in snapshot.at_work[:_SHOWN_WORKERS]:
        memory = "" if each.memory_used is None else size(each.memory_used)
        table.add_row(visible(short_name(each)), each.device, f"chunk {each.chunk_id}", speed(each), memory)
    return table


def feed(show: Show, snapshots: Iterable[Snapshot]) -> Snapshot:
    """Show each snapshot; return the last."""
    last = None
    for last in snapshots:
        show.update(last)
    assert last is not None, "a job is looked at once at least"
    return last
