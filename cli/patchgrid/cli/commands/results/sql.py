"""`patchgrid results sql`."""

import sys
from itertools import islice

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.terminal.output import open_output
from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.storage.output.row_files import write_rows
from patchgrid.storage.output.sql import query_readonly

#: Rows shown as a table.
SHOWN = 1000
FORMATS = ("table", "csv", "jsonl")


@click.command()
@click.argument("query", metavar="SELECT")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="Output format."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit of the query.",
)
@with_settings
def sql(settings: Settings, /, query: str, form: str, timeout: float) -> None:
    """Run one SQL statement (`-` reads it from standard input) on a read-only connection.

    \b
    patchgrid results sql "SELECT name FROM sqlite_schema WHERE type = 'table'"
    patchgrid results sql "SELECT component, estimate, ci_low, ci_high
        FROM component_estimate WHERE job_id = 1 AND rank <= 10"
    """
    text = sys.stdin.read() if query == "-" else query
    with settings.open() as database:
        names, rows = query_readonly(database, text, timeout)
        if settings.json or form != "table":
            with open_output(None) as file:
                write_rows(
                    file,
                    form if form != "table" else "jsonl",
                    names,
                    (dict(zip(names, row, strict=True)) for row in rows),
                )
            return
        cells = [[_cell(value) for value in row] for row in islice(rows, SHOWN + 1)]
    show_table([Column(name) for name in names], cells[:SHOWN])
    if len(cells) > SHOWN:
        say(f"The first {counted(SHOWN, 'row')}; --format csv or jsonl writes them all")
    else:
        say(counted(len(cells), "row"))


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else value
