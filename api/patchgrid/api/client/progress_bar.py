"""One bar that moves: in a notebook's output, on a terminal, or nowhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

#: Takes how much is done of how much, and words for it.
Show = Callable[[float, int, str], None]
#: Seconds between two updates in a notebook.
_EVERY = 0.1


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Show]:
    """Yield a function that updates a bar; its last state stays on screen."""
    if not shown:
        yield lambda _done, _total, _words: None
    elif _in_notebook():
        bar = _NotebookBar()
        try:
            yield bar.show
        finally:
            bar.finish()
    else:
        with _rich_bar() as show:
            yield show


def _in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this, and not a terminal's IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class _NotebookBar:
    """One output of a cell, updated in place; it needs no widgets, and a saved notebook shows its end."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last: _Bar | None = None
        self._drawn = 0.0

    def show(self, done: float, total: int, words: str) -> None:
        """Draw the bar, unless it was just drawn."""
        self._last = _Bar(done, total, words)
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw(self._last)

    def finish(self) -> None:
        """Draw the last state."""
        if self._last is not None:
            self._draw(self._last)

    def _draw(self, bar: "_Bar") -> None:
        from IPython.display import display

        self._drawn = time.monotonic()
        if self._handle is None:
            self._handle = display(bar, display_id=True)
        else:
            self._handle.update(bar)


class _Bar:
    """A bar as a notebook draws it."""

    def __init__(self, done: float, total: int, words: str) -> None:
        self._done, self._total, self._words = done, total, words

    def __repr__(self) -> str:
        return self._words

    def _repr_html_(self) -> str:
        value, most = f"{self._done:.1f}", max(self._total, 1)
        return (
            f'<div><progress value="{value}" max="{most}" style="width: 20em; vertical-align: middle">'
            f"</progress> {escape(self._words)}</div>"
        )


@contextmanager
def _rich_bar() -> Iterator[Show]:
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total, words: progress.update(task, completed=done, total=total, description=words)
