"""Upload progress: a bar on a terminal, otherwise occasional lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from patchgrid.cli.terminal.progress import LINE_EVERY
from patchgrid.cli.terminal.screen import say
from patchgrid.core.text.wording import size

#: Least bytes for which progress is shown.
_MUCH = 1_000_000


@contextmanager
def shown_upload() -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with the bytes sent and the total."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", visible=False)

        def show(gone: int, total: int) -> None:
            what = "sending the pairs" if gone < total else "sent; the server stores them"
            bar.update(task, description=what, completed=gone, total=total, visible=total >= _MUCH)

        yield show


class _Lines:
    """Writes a line every `LINE_EVERY` seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, gone: int, total: int) -> None:
        if time.monotonic() - self._last >= LINE_EVERY:
            self._last = time.monotonic()
            say(f"{size(gone)} of {size(total)} sent")
