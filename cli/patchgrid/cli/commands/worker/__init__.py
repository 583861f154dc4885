"""`patchgrid worker`: processes that measure queued jobs."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "start": ("patchgrid.cli.commands.worker.start:start", "Run a worker in this process."),
    "list": ("patchgrid.cli.commands.worker.registry:list_", "List workers and queues."),
    "drain": ("patchgrid.cli.commands.worker.registry:drain", "Stop workers after their current chunk."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def worker() -> None:
    """Start, list and drain workers."""
