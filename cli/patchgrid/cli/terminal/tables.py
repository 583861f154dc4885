"""Tables on stdout: full width in a file or pipe, wrapped (never cut) on a terminal."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import click
from rich.cells import cell_len, chop_cells

from patchgrid.cli.terminal.screen import visible

_GAP = "  "
#: Least width of a wrapped text column.
_NARROWEST = 12
#: The part of a number after its integer digits.
_BEHIND = re.compile(r".*?\d(?P<tail>(\.\d+)?\D*)")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    #: Numbers are right-aligned at their decimal points and never wrapped.
    number: bool = False


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Write a table to stdout, with a title above it if there is one."""
    terminal = sys.stdout.isatty()
    table = _pointed(columns, [[visible(cell) for cell in row] for row in rows])
    widths, gap = _widths(columns, table), _GAP
    if terminal:
        widths, gap = _narrowed(columns, table, widths, shutil.get_terminal_size().columns)
    if title is not None:
        click.echo(f"\n{click.style(title, bold=True)}\n")
    for line in _lines(columns, [column.title for column in columns], widths, gap):
        click.echo(click.style(line, bold=True))
    click.echo(_rule() * _total(widths, gap))
    text = "".join(f"{line}\n" for row in table for line in _lines(columns, row, widths, gap))
    click.echo(text, nl=False)


def _pointed(columns: Sequence[Column], table: list[list[str]]) -> list[list[str]]:
    """Pad the numbers of each column to align their decimal points."""
    for place, column in enumerate(columns):
        if column.number:
            tails = [_tail(row[place]) for row in table]
            longest = max(tails, default=0)
            for row, tail in zip(table, tails, strict=True):
                row[place] += " " * (longest - tail)
    return table


def _tail(cell: str) -> int:
    match = _BEHIND.fullmatch(cell)
    return 0 if match is None else len(match["tail"])


def _widths(columns: Sequence[Column], table: Sequence[Sequence[str]]) -> list[int]:
    widths = [cell_len(column.title) for column in columns]
    for row in table:
        for place, cell in enumerate(row):
            widths[place] = max(widths[place], cell_len(cell))
    return widths


def _total(widths: Sequence[int], gap: str) -> int:
    return sum(widths) + len(gap) * (len(widths) - 1)


def _narrowed(
    columns: Sequence[Column], table: Sequence[Sequence[str]], widths: Sequence[int], limit: int
) -> tuple[list[int], str]:
    """Make a table fit: fold the titles of numbers, then wrap text, then bring columns closer."""
    if _total(widths, _GAP) <= limit:
        return list(widths), _GAP
    folded = [
        Column(max(column.title.split(), key=cell_len, default="") if column.number else column.title)
        for column in columns
    ]
    widths = _widths(folded, table)
    for gap in (_GAP, " "):
        narrow = _shrunk(columns, widths, _total(widths, gap) - limit)
        if _total(narrow, gap) <= limit:
            break
    return narrow, gap


def _shrunk(columns: Sequence[Column], widths: Sequence[int], excess: int) -> list[int]:
    """Shrink the widest text column by one, again and again, as far as any can shrink."""
    narrow = list(widths)
    texts = [place for place, column in enumerate(columns) if not column.number]
    while excess > 0 and texts:
        widest = max(texts, key=lambda place: narrow[place])
        if narrow[widest] <= _NARROWEST:
            break
        narrow[widest] -= 1
        excess -= 1
    return narrow


def _lines(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], gap: str) -> Iterator[str]:
    """Format one row, on several lines if a cell is wider than its column."""
    wrapped = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        padded = [
            _padded(part, width, column.number)
            for part, width, column in zip(parts, widths, columns, strict=True)
        ]
        yield gap.join(padded).rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    if cell_len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width) if cell.isascii() else chop_cells(cell, width)


def _padded(part: str, width: int, number: bool) -> str:
    space = " " * (width - cell_len(part))
    return space + part if number else part + space


def _rule() -> str:
    try:
        "─".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "-"
    return "─"
