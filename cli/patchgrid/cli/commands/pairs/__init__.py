"""`patchgrid pairs`: check and convert pair files."""

import click

from patchgrid.cli.lazy import LazyGroup

_COMMANDS = {
    "check": (
        "patchgrid.cli.commands.pairs.check:check",
        "Show a pair file's contents and which pairs would fail.",
    ),
    "convert": ("patchgrid.cli.commands.pairs.convert:convert", "Write a pair file in another format."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def pairs() -> None:
    """Check and convert pair files. Needs neither a database nor a GPU."""
