"""`patchgrid job`: list, watch and control jobs."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "list": ("patchgrid.cli.commands.job.show:list_", "List all jobs, oldest first."),
    "show": (
        "patchgrid.cli.commands.job.show:show",
        "Show a job's settings, progress and provenance.",
    ),
    "errors": (
        "patchgrid.cli.commands.job.show:errors",
        "List the pairs that failed, with reasons.",
    ),
    "watch": ("patchgrid.cli.commands.job.watch:watch", "Watch a job until it ends."),
    "wait": ("patchgrid.cli.commands.job.watch:wait", "Wait silently until a job ends."),
    "pause": ("patchgrid.cli.commands.job.control:pause", "Pause a job: no new chunks are started."),
    "resume": ("patchgrid.cli.commands.job.control:resume", "Resume a job."),
    "cancel": ("patchgrid.cli.commands.job.control:cancel", "Cancel a job."),
    "retry": ("patchgrid.cli.commands.job.control:retry", "Retry a job's failed or cancelled chunks."),
    "missed": (
        "patchgrid.cli.commands.job.missed:missed",
        "Bound the effects of rarely patched components.",
    ),
    "refine": ("patchgrid.cli.commands.job.refine:refine", "Patch more of a job that is done."),
    "delete": (
        "patchgrid.cli.commands.job.control:delete",
        "Delete a job with its pairs and results.",
    ),
    "prune": ("patchgrid.cli.commands.job.prune:prune", "Delete old jobs."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def job() -> None:
    """List, watch and control jobs. JOB is an id, a name, or `last`."""
