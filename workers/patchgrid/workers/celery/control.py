"""Remote control: anyone who reaches the broker may look; stopping a worker needs its permission.

`drain` is always taken: it loses nothing. Celery's other commands that stop or change a worker are refused
unless it was started with `--remote-control`.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

from celery.worker.control import Panel, control_command

_log = logging.getLogger(__name__)

#: Commands that change nothing of a worker's work.
_HARMLESS = ("drain", "enable_events", "disable_events", "heartbeat", "election")


def add_commands() -> None:
    """Add `drain`, and guard the commands that stop or change workers."""
    if "drain" in Panel.data:
        return
    control_command(name="drain", help="Finish the current chunk and exit.")(_drain)
    for name, about in list(Panel.meta.items()):
        if about.type == "control" and name not in _HARMLESS:
            # Registered again under its name, with its description.
            again = control_command(
                name=name,
                alias=about.alias,
                help=about.help,
                signature=about.signature,
                args=about.args,
                variadic=about.variadic,
                visible=about.visible,
                default_timeout=about.default_timeout,
            )
            again(_guarded(name, Panel.data[name]))


def _drain(state: Any, **_: Any) -> dict[str, str]:
    worker = getattr(state.app, "worker", None)
    if worker is None:
        return {"error": "not a patchgrid worker"}
    worker.drain()
    return {"ok": "exits after the current chunk"}


def _guarded(name: str, command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def guard(state: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(state.app, "remote_control", True):
            return command(state, *args, **kwargs)
        _log.warning("refused remote control command %r: start the worker with --remote-control", name)
        return {"error": f"{name} is refused: start the worker with --remote-control"}

    return guard
