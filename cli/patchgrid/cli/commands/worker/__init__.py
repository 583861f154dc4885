"""`patchgrid worker`: the processes that measure what is on the queue."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "start": ("patchgrid.cli.commands.worker.start:start", "Measure what is on the queue, in this process."),
    "list": ("patchgrid.cli.commands.worker.registry:list_", "List the workers, and what waits for them."),
    "drain": ("patchgrid.cli.commands.worker.registry:drain", "Let workers finish their chunk and end."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def worker() -> None:
    """Start workers, list them, drain them."""
