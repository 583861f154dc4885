"""What goes to the screen: tables and JSON on stdout, words on stderr."""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import click

#: Wide enough that nothing wraps where the output is a file or a pipe.
_NO_LIMIT = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    #: Numbers stand to the right and are never wrapped.
    number: bool = False


def say(text: str = "") -> None:
    """Write words for people to stderr."""
    click.echo(text, err=True)


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Write a table to stdout: as wide as it needs in a file or pipe, wrapped, never cut, on a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            Text(column.title),
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = Console(
        file=sys.stdout if terminal else StringIO(),
        width=None if terminal else _NO_LIMIT,
        markup=False,
        highlight=False,
        emoji=False,
    )
    if title is not None:
        console.print(Text(f"\n{title}\n", style="bold"))
    console.print(table)
    if not terminal:
        assert isinstance(console.file, StringIO)
        lines = console.file.getvalue().splitlines()
        click.echo("\n".join(line.rstrip() for line in lines))


def show_json(value: object) -> None:
    """Write one JSON document to stdout."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def plain(value: object) -> Any:
    """Turn dataclasses, arrays and numbers that JSON lacks into what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def visible(value: object) -> str:
    """Write a cell: nothing as `-`, control characters escaped so that none reaches the terminal."""
    if value is None:
        return "-"
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(value))


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def counted(number: int, noun: str) -> str:
    """Write `1 pair`, `2 pairs`, `1,000 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
