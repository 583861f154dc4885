"""`patchgrid job prune`."""

import re
import time
from pathlib import Path

import click
from sqlalchemy import make_url

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.terminal.screen import counted, say, show_json
from patchgrid.cli.views.job_view import show_jobs
from patchgrid.core.states import ENDED_JOBS
from patchgrid.core.text.wording import size
from patchgrid.storage.jobs import deletion
from patchgrid.storage.jobs.jobs import JobRecord

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_AGE = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[mhdw])")


class _Age(click.ParamType[float]):
    """A length of time in seconds: `30d`, `12h`, `2w`, `90m`."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        match = _AGE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a duration: write 30d, 12h or 2w", param, ctx)
        return float(match["number"]) * _UNITS[match["unit"]]


class _States(click.ParamType[tuple[str, ...]]):
    """States of jobs that have ended, with commas."""

    name = "states"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read them."""
        states = tuple(state.strip() for state in str(value).split(","))
        unknown = [state for state in states if state not in ENDED_JOBS]
        if unknown:
            self.fail(
                f"{unknown[0]!r} is not a state of an ended job; available: {', '.join(ENDED_JOBS)}",
                param,
                ctx,
            )
        return states


@click.command()
@click.option(
    "--older-than",
    type=_Age(),
    required=True,
    metavar="AGE",
    help="Delete jobs that ended longer ago than this: 30d, 12h, 2w.",
)
@click.option(
    "--state",
    "states",
    type=_States(),
    default=",".join(ENDED_JOBS),
    show_default=True,
    metavar="STATE,…",
    help="Only jobs in these states.",
)
@click.option("--dry-run", is_flag=True, help="List what would be deleted; delete nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@with_settings
def prune(
    settings: Settings, /, older_than: float, states: tuple[str, ...], dry_run: bool, yes: bool
) -> None:
    """Delete jobs that ended some time ago, with their pairs and results.

    Deletes the jobs of all users; through a server this needs a token with scope admin. Each job is deleted
    in short transactions, so workers and readers are not blocked. If interrupted, run the command again.

    \b
    patchgrid job prune --older-than 30d --dry-run
    patchgrid job prune --older-than 2w --state failed,cancelled --yes
    """
    if settings.server is None and not dry_run:
        with settings.open() as database:
            deletion.finish(database)
    with settings.backend() as source:
        before = time.time() - older_than
        expired = [each for each in list(source.jobs())[::-1] if _is_old(each[0], states, before)]
        freed = sum(record.bytes for record, _ in expired)
        if settings.json:
            ids = [record.id for record, _ in expired]
            show_json({"jobs": ids, "bytes": freed, "deleted": not dry_run})
        elif expired:
            show_jobs(expired)
        what = f"{counted(len(expired), 'job')}, about {size(freed)}"
        if dry_run or not expired:
            say(f"Would delete {what}" if expired else "No job ended that long ago")
            return
        if not yes:
            click.confirm(f"Delete {what}?", abort=True, err=True)
        for record, _ in expired:
            source.delete(record, everyone=True)
    say(f"Deleted {what}")
    _say_how_to_shrink(settings)


def _is_old(record: JobRecord, states: tuple[str, ...], before: float) -> bool:
    return record.state in states and record.finished_at is not None and record.finished_at < before


def _say_how_to_shrink(settings: Settings) -> None:
    """Say that an SQLite file keeps its size."""
    if settings.server is None and settings.url.startswith("sqlite"):
        file = Path(str(make_url(settings.url).database))
        taken = size(file.stat().st_size)
        say(
            f"The file still takes {taken} and reuses the space; to shrink it: "
            f"{settings.command('db vacuum')}"
        )
