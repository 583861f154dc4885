"""`patchgrid db`: the database itself."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import DONE, FAILED
from patchgrid.cli.screen import counted, say, show_json
from patchgrid.storage import checking, schema, vacuuming
from patchgrid.storage.wording import size


@click.group()
def db() -> None:
    """Upgrade, check and shrink the database."""


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
def vacuum(settings: Settings, /) -> None:
    """Give the space of deleted jobs back to the disk.

    An SQLite file is written anew, which needs as much free space again; nobody can write meanwhile. On
    PostgreSQL, autovacuum makes the space free for new results: this does it at once.
    """
    before, after = vacuuming.vacuum(settings.url)
    if settings.json:
        show_json({"before": before, "after": after})
    say(f"The database took {size(before)}, and takes {size(after)} now")


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
