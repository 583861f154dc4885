"""What the command line says of a pair file and of a model on it, as Python warnings."""

import warnings
from collections.abc import Iterable, Iterator
from inspect import currentframe
from typing import TYPE_CHECKING

from patchgrid.core.text.wording import counted

if TYPE_CHECKING:
    from patchgrid.pairs import PairSummary
    from patchgrid.storage.output.standing import Standing

#: Modules between a caller and here: ours, and what runs our context managers.
_WITHIN = ("patchgrid.", "contextlib")


class PairWarning(UserWarning):
    """Something about pairs, or about the model on them, that one should know before trusting numbers."""


def warn_of_file(summary: "PairSummary") -> None:
    """Warn of how a pair file was read: skipped rows, ignored columns, repeated pairs."""
    _warn(summary.notes)


def warn_of_results(standing: "Standing") -> None:
    """Warn of what measuring showed: doubtful tokens, failures, a model that does not do the task."""
    _warn(_notes(standing))


def _notes(standing: "Standing") -> Iterator[str]:
    for text, count in standing.warnings:
        yield f"{text} ({counted(count, 'pair')})"
    if standing.task is not None:
        yield from standing.task["warnings"]
    progress = standing.now.progress
    if progress.failed:
        yield f"{progress.failed:,} of {counted(progress.total, 'pair')} failed: job.pairs() has the reasons"


def _warn(notes: Iterable[str]) -> None:
    for note in notes:
        warnings.warn(note, PairWarning, stacklevel=_callers_level())


def _callers_level() -> int:
    """Return the `stacklevel` at which `_warn` names the line that called patchgrid."""
    level, frame = 0, currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_WITHIN):
        level, frame = level + 1, frame.f_back
    return level
