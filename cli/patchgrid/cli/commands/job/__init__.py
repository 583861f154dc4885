"""`patchgrid job`: the jobs of a database, to look at, to follow and to steer."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "list": ("patchgrid.cli.commands.job.show:list_", "List the jobs, the oldest first."),
    "show": (
        "patchgrid.cli.commands.job.show:show",
        "Show what a job measures, how far it is, what made it.",
    ),
    "errors": (
        "patchgrid.cli.commands.job.show:errors",
        "List the pairs that could not be measured, with reasons.",
    ),
    "watch": ("patchgrid.cli.commands.job.watch:watch", "Watch a job until it ends."),
    "wait": ("patchgrid.cli.commands.job.watch:wait", "Wait until a job ends, and say nothing meanwhile."),
    "pause": ("patchgrid.cli.commands.job.control:pause", "Pause a job: no more chunks of it are begun."),
    "resume": ("patchgrid.cli.commands.job.control:resume", "Go on with a job where it stopped."),
    "cancel": ("patchgrid.cli.commands.job.control:cancel", "Cancel a job: nothing more of it is measured."),
    "retry": ("patchgrid.cli.commands.job.control:retry", "Try again what was given up or cancelled."),
    "delete": (
        "patchgrid.cli.commands.job.control:delete",
        "Delete a job with its pairs and all its results.",
    ),
    "prune": ("patchgrid.cli.commands.job.prune:prune", "Delete the jobs that ended some time ago."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def job() -> None:
    """List jobs, follow them and steer them. JOB is an id, a name, or `last`."""
