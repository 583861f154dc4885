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
from patchgrid.storage.queue.job_status import Snapshot

#: Seconds between two lines where there is no terminal.
LINE_EVERY = 5.0
#: Workers and load failures that the live screen has room for.
_SHOWN_WORKERS, _SHOWN_FAILURES = 8, 3


class Show(ABC):
    """Something that a job's snapshots are shown on."""

    @abstractmethod
    def update(self, found: Snapshot) -> None:
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

    def update(self, found: Snapshot) -> None:
        pace = self._speed.pace(found)
        self._live.update(Group(*screen_parts(self._settings, found, pace)))


class _Lines(Show):
    """Writes a line when the state changes, and every `LINE_EVERY` seconds if anything else did."""

    def __init__(self, settings: Settings, stream: IO[str]) -> None:
        self._settings, self._stream, self._speed = settings, stream, Speed()
        self._last = -LINE_EVERY
        self._before: tuple[object, object] = (None, None)

    def update(self, found: Snapshot) -> None:
        pace = self._speed.pace(found)
        now = (found.job.state, found.progress)
        due = time.monotonic() - self._last >= LINE_EVERY and now != self._before
        if due or now[0] != self._before[0]:
            self._last, self._before = time.monotonic(), now
            chunks = chunk_words(found.progress)
            words = f"{found.job.state}: {pace.words}; chunks: {chunks}"
            click.echo(words if found.ended else f"{words}; {_hands(self._settings, found)}", self._stream)


class _JsonLines(Show):
    """Writes a JSON document on a line of its own at every change."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._speed = stream, Speed()
        self._before: object = None

    def update(self, found: Snapshot) -> None:
        document = snapshot_json(found)
        pace = self._speed.pace(found)
        if document != self._before:
            self._before = document
            rate = pace.rate
            left = (pace.total - pace.reached) / rate if rate else None
            timed = document | {"pairs_per_second": rate, "seconds_left": left}
            click.echo(json.dumps(plain(timed), ensure_ascii=False, allow_nan=False), self._stream)


def _hands(settings: Settings, found: Snapshot) -> str:
    """Say who works on it; if nobody does, whether anybody could."""
    if found.at_work:
        return counted(len(found.at_work), "worker")
    if found.progress.chunks_leased:
        return "leased to a process that is not a worker (patchgrid run), or to a lost one"
    if found.serving:
        return f"no worker on it ({found.serving:,} serve its model)"
    return no_worker(settings, found.job.spec.model).replace("No", "no", 1)


def screen_parts(settings: Settings, found: Snapshot, pace: Pace) -> Iterator[RenderableType]:
    """Yield the parts of the live screen from top to bottom."""
    job = found.job
    name = f" ({visible(job.name)})" if job.name else ""
    yield Text(f"Job {job.id}{name} {job.state}, {visible(short_model(job.spec.model))}", style="bold")
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=pace.total, completed=pace.reached, width=20), Text(pace.words))
    yield line
    yield Text(f"chunks: {chunk_words(found.progress)}")
    if not found.ended:
        yield from _who(settings, found)


def _who(settings: Settings, found: Snapshot) -> Iterator[RenderableType]:
    job = found.job
    if found.at_work:
        yield Text()
        yield _workers(found)
        more = len(found.at_work) - _SHOWN_WORKERS
        if more > 0:
            yield Text(f"and {more:,} more: {settings.command('worker list')}")
    elif job.state == JobState.PAUSED:
        yield Text(f"Paused; to resume: {settings.command(f'job resume {job.id}')}")
    elif found.serving or found.progress.chunks_leased:
        yield Text(_hands(settings, found).capitalize())
    else:
        yield Text(no_worker(settings, job.spec.model))
    for failure in found.load_failures[:_SHOWN_FAILURES]:
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


def is_alone(found: Snapshot) -> bool:
    """Tell whether a job waits for a worker that nobody has started."""
    waits = not found.ended and found.job.state != JobState.PAUSED
    return waits and not (found.at_work or found.serving or found.progress.chunks_leased)


def _workers(found: Snapshot) -> Table:
    table = Table.grid(padding=(0, 2))
    for each in found.at_work[:_SHOWN_WORKERS]:
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
