"""Write docs/command-line.md: the help of every command, as the command line itself gives it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from patchgrid.cli import main

PAGE = Path(__file__).with_name("command-line.md")
_WIDTH = 100


def commands(command: click.Command, path: tuple[str, ...] = ("patchgrid",)) -> Iterator[tuple[str, str]]:
    """Yield each command's full name and its help."""
    context = click.Context(
        command, info_name=" ".join(path), terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield " ".join(path), command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


def page() -> str:
    """Return the whole page."""
    parts = ["# The command line\n\nMade by `python docs/command_line.py`.\n"]
    parts += [f"## {name}\n\n```text\n{text}\n```\n" for name, text in commands(main)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
