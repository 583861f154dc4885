"""`patchgrid results`: what was measured, on the screen, as pictures and as files."""

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
    "plot": ("patchgrid.cli.commands.results.plot:plot", "Draw heatmaps, or scores against exact effects."),
    "export": (
        "patchgrid.cli.commands.results.export:export",
        "Write scores, effects, components or pairs to a file.",
    ),
    "sql": ("patchgrid.cli.commands.results.sql:sql", "Ask the database a question in SQL; it is only read."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def results() -> None:
    """Look at what was measured, draw it and export it. JOB is an id, a name, or `last`."""
