"""Waiting for a job with a bar, in terminals and notebooks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from patchgrid.core.packages import is_installed
from patchgrid.core.wording import counted


class Show(Protocol):
    """Shown how far a job is."""

    def __call__(self, found: dict[str, Any]) -> None:
        """Show it."""


@contextmanager
def bar(*, shown: bool) -> Iterator[Show]:
    """Give what shows a job's state as it changes."""
    console = Console(stderr=True, markup=False, highlight=False) if shown else None
    # In a notebook, rich draws through ipywidgets, and warns where there are none.
    if console is None or (console.is_jupyter and not is_installed("ipywidgets")):
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[words]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=None, words="")

        def show(found: dict[str, Any]) -> None:
            pairs = found["pairs"]
            reached = _reached(pairs)
            progress.update(
                task,
                description=f"job {found['job']} {found['state']}",
                completed=reached,
                total=pairs["total"],
                words=words_of(found),
            )

        yield show


def words_of(found: dict[str, Any]) -> str:
    """Say how far a job is: `128 of 300 pairs, 2 failed, 3 workers`."""
    pairs, workers = found["pairs"], len(found.get("workers", ()))
    others = "".join(f", {pairs[state]:,} {state}" for state in ("failed", "skipped") if pairs[state])
    return f"{_reached(pairs):,} of {counted(pairs['total'], 'pair')}{others}, {counted(workers, 'worker')}"


def _reached(pairs: dict[str, int]) -> int:
    """Count the pairs that are through."""
    return pairs["done"] + pairs["failed"] + pairs["skipped"]


class _Lines:
    """Prints a line where no bar can be: in a notebook without ipywidgets, now and then."""

    def __init__(self, console: Console | None, every: float = 5.0) -> None:
        self._console, self._every = console, every
        self._last, self._state = -every, ""

    def __call__(self, found: dict[str, Any]) -> None:
        if self._console is None:
            return
        now = time.monotonic()
        if found["state"] != self._state or now - self._last >= self._every:
            self._state, self._last = found["state"], now
            self._console.print(f"job {found['job']} {found['state']}: {words_of(found)}")
