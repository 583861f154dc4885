"""`patchgrid results`: results as tables, pictures and files."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "top": ("patchgrid.cli.commands.results.top:top", "Show a job's strongest components, with intervals."),
    "pair": (
        "patchgrid.cli.commands.results.pair:pair",
        "Show one pair: tokens, metrics, strongest components.",
    ),
    "verify": (
        "patchgrid.cli.commands.results.verify:verify",
        "Show how well scores agree with exact patching.",
    ),
    "missed": (
        "patchgrid.cli.commands.results.missed:missed",
        "Show bounds on the effects of rarely patched components.",
    ),
    "groups": (
        "patchgrid.cli.commands.results.groups:groups",
        "Show which components differ between groups of pairs.",
    ),
    "certificate": (
        "patchgrid.cli.commands.results.certificate:certificate",
        "Show which components certainly have the largest effects.",
    ),
    "plot": (
        "patchgrid.cli.commands.results.plot:plot",
        "Draw heatmaps, or plot scores against exact effects.",
    ),
    "export": (
        "patchgrid.cli.commands.results.export:export",
        "Write scores, effects, components or pairs to a file.",
    ),
    "sql": ("patchgrid.cli.commands.results.sql:sql", "Run a read-only SQL query."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def results() -> None:
    """Show, plot and export results. JOB is an id, a name, or `last`."""
