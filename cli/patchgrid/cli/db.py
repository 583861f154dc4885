"""`patchgrid db`: the database itself."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import DONE, FAILED
from patchgrid.cli.screen import counted, say, show_json
from patchgrid.storage import checking, schema


@click.group()
def db() -> None:
    """Upgrade and check the database."""


@db.command()
@with_settings
def upgrade(settings: Settings, /) -> None:
    """Bring a database that an older patchgrid wrote up to this version, all of it or nothing.

    Stop all workers, and make a copy of the file first.
    """
    old, new = schema.upgrade(settings.url)
    if settings.json:
        show_json({"from": old, "to": new})
    elif old == new:
        say(f"The database is at version {new} already")
    else:
        say(f"Upgraded the database from version {old or 'none'} to {new}")


@db.command()
@with_settings
def check(settings: Settings, /) -> int:
    """Check the whole database: its file, every checksum, every count. Exit code 1 if anything is wrong."""
    report = checking.check(settings.url)
    if settings.json:
        show_json(report)
    else:
        for problem in report.problems:
            click.echo(problem)
        looked_at = (
            f"version {report.revision}: {counted(report.jobs, 'job')}, {counted(report.chunks, 'chunk')}, "
            f"{counted(report.blobs, 'blob')} checked"
        )
        say(f"{looked_at}, {counted(len(report.problems), 'problem')} found")
    return FAILED if report.problems else DONE
