"""A run's progress: a bar on a terminal, else a line at intervals."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from patchgrid.api.client.pace import Clock, Pace
from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.stopping import ASKED

if TYPE_CHECKING:
    from patchgrid.storage.jobs.progress import Progress
    from patchgrid.workers.progress import RunProgress

Item = TypeVar("Item")

#: Seconds between two lines where stderr is no terminal.
LINE_EVERY = 10.0


def aloud(pairs: Iterable[Item], total: int, done: str) -> Iterator[Item]:
    """Pass pairs on, and report their number at intervals: `400,000 of 1,000,000 pairs stored`."""
    last = time.monotonic()
    for number, pair in enumerate(pairs):
        if number % 1000 == 0 and time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            say(f"{number:,} of {counted(total, 'pair')} {done}")
        yield pair


@contextmanager
def shown_progress(begun: "Progress", stop: threading.Event) -> Iterator[Callable[["RunProgress"], None]]:
    """Yield a function that shows a run's progress; `begun` is the job's progress before it."""
    clock = Clock(begun.total, begun.reached)
    if not sys.stderr.isatty():
        yield _Lines(clock)
        return
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
    console = Console(stderr=True, markup=False, highlight=False)
    with _Bar(*columns, console=console, refresh_per_second=4, stop=stop) as bar:
        before = Pace(begun.total, begun.reached, begun.failed, begun.skipped, None)
        task = bar.add_task(before.words, total=before.total, completed=begun.reached)

        def report(progress: "RunProgress") -> None:
            pace = clock.pace(progress)
            bar.update(task, completed=pace.reached, description=pace.words)

        yield report


@contextmanager
def shown_count(noun: str, done: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows progress (done, total): a bar on a terminal, else a line at intervals."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def show(number: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                say(f"{number:,} of {counted(total, noun)} {done}")

        yield show
        return
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
    console = Console(stderr=True, markup=False, highlight=False)
    with RichProgress(*columns, console=console, refresh_per_second=4, transient=True) as bar:
        task = bar.add_task("", total=None)

        def update(number: int, total: int) -> None:
            words = f"{number:,} of {counted(total, noun)} {done}"
            bar.update(task, completed=number, total=max(total, 1), description=words)

        yield update


class _Bar(RichProgress):
    """A bar with a notice once it is stopping."""

    def __init__(
        self,
        *columns: BarColumn | TextColumn,
        console: Console,
        refresh_per_second: float,
        stop: threading.Event,
    ) -> None:
        self._stop = stop
        super().__init__(*columns, console=console, refresh_per_second=refresh_per_second)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar, and below it a notice once it is stopping."""
        yield from super().get_renderables()
        if self._stop.is_set():
            yield Text(ASKED)


class _Lines:
    """Writes a line every `LINE_EVERY` seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = time.monotonic()

    def __call__(self, progress: "RunProgress") -> None:
        pace = self._clock.pace(progress)  # each report counts: the first of a round starts its clock
        if time.monotonic() - self._last >= LINE_EVERY:
            self._last = time.monotonic()
            say(pace.words)
