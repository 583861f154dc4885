"""Whether the model does the task, printed before its results."""

from collections.abc import Mapping
from typing import Any

from patchgrid.cli.terminal.screen import say, visible
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.normalised import share_warning


def show_task(task: Mapping[str, Any] | None) -> None:
    """Print the task line and its warnings, if known."""
    if task is None:
        return
    if task["line"] is not None:
        say(visible(task["line"]))
    if task["answers"] and not any(answer in text for answer in task["answers"] for text in task["warnings"]):
        say(f"Answers are token ids: {visible('; '.join(task['answers']))}, …")
    for warning in task["warnings"]:
        say(f"Warning: {visible(warning)}")


def say_shares(task: Mapping[str, Any] | None, job: JobRecord) -> None:
    """Print what effects are shares of."""
    if task is None or task["difference"] is None:
        return
    say(f"Numbers are shares of the mean clean - corrupted {job.spec.metric}, {task['difference']:+.4g}")
    if warning := share_warning(task):
        say(f"Warning: {warning}")
