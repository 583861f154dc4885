"""Whether the model does the task, said before its results."""

from collections.abc import Mapping
from typing import Any

from patchgrid.cli.screen import say, visible


def show_task(task: Mapping[str, Any] | None) -> None:
    """Say the task line and its warnings; nothing where they are not known."""
    if task is None:
        return
    if task["line"] is not None:
        say(visible(task["line"]))
    if task["answers"] and not any(answer in text for answer in task["answers"] for text in task["warnings"]):
        say(f"Answers are token ids: {visible('; '.join(task['answers']))}, …")
    for warning in task["warnings"]:
        say(f"Warning: {visible(warning)}")
