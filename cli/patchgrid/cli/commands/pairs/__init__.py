"""`patchgrid pairs`: pair files, looked into and converted."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "check": (
        "patchgrid.cli.commands.pairs.check:check",
        "Show what a pair file holds and which pairs would fail.",
    ),
    "convert": ("patchgrid.cli.commands.pairs.convert:convert", "Write a pair file in another format."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def pairs() -> None:
    """Look into pair files and convert them. No database is needed, and no GPU."""
