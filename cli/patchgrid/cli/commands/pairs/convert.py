"""`patchgrid pairs convert`: write a pair file in another format."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import DONE
from patchgrid.cli.options import columns_option, limit_option
from patchgrid.cli.terminal.progress import aloud
from patchgrid.cli.terminal.screen import counted, say, show_json, visible
from patchgrid.pairs import PairFile
from patchgrid.pairs.writing import write_pairs


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@columns_option
@limit_option
@click.option("--force", is_flag=True, help="Overwrite OUT.")
@with_settings
def convert(
    settings: Settings,
    /,
    source: str,
    target: str,
    columns: dict[str, str],
    limit: int | None,
    force: bool,
) -> int:
    """Convert pair file IN, in any supported layout, to OUT: JSON Lines, CSV or Parquet by its extension.

    OUT has patchgrid's layout (clean, corrupted, correct, incorrect, id, spans) and the same pairs, so both
    files give the same job. OUT is written completely or not at all.

    \b
    patchgrid pairs convert ioi.csv pairs.jsonl
    patchgrid pairs convert train.parquet pairs.csv --columns corrupted=abc_counterfactual
    """
    with PairFile.open(source, limit=limit, columns=columns) as file:
        summary = file.check()
        for note in summary.notes:
            say(f"Note: {visible(note)}")
        write_pairs(target, aloud(file, summary.count, "written"), replace=force)
    if settings.json:
        show_json({"file": target, "pairs": summary.count, "layout": summary.layout})
    say(f"Wrote {counted(summary.count, 'pair')} to {visible(target)}")
    return DONE
