"""`patchgrid db`: the database itself."""

from collections.abc import Iterator

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import DONE, FAILED
from patchgrid.cli.terminal.progress import shown_count
from patchgrid.cli.terminal.screen import counted, say, show_json, visible
from patchgrid.core.text.number_format import percent
from patchgrid.core.text.wording import seconds, size
from patchgrid.storage import checking
from patchgrid.storage.db import schema
from patchgrid.storage.jobs.vacuum import vacuum as give_space_back
from patchgrid.storage.queue.closing import rewrite_estimates


@click.group()
def db() -> None:
    """Upgrade, check and shrink the database."""


@db.command()
@with_settings
def upgrade(settings: Settings, /) -> None:
    """Upgrade a database written by an older patchgrid.

    Stop all workers and back up the database first. The tables change in one transaction; then the estimates
    of ended jobs are computed again, job by job. If it is interrupted, run the command again.
    """
    old, new = schema.upgrade(settings.url)
    with settings.open() as database:
        again, damaged = rewrite_estimates(database)
    if settings.json:
        show_json({"from": old, "to": new, "estimated_again": again, "damaged": damaged})
    elif old == new:
        say(f"The database is already at version {new}")
    else:
        say(f"Upgraded the database from version {old or 'none'} to {new}")
    if again:
        say(f"Computed the estimates of {counted(again, 'ended job')} again")
    if damaged:
        names = ", ".join(f"job {each}" for each in damaged)
        say(f"Left as it is, because it does not match its checksum: {names}; run `patchgrid db check`")


@db.command()
@with_settings
def vacuum(settings: Settings, /) -> None:
    """Free the disk space of deleted jobs.

    An SQLite file is rewritten: this needs as much free disk space again, and blocks writers. On PostgreSQL
    the space becomes free for new results, as autovacuum does later; files keep their size.
    """
    before, after = give_space_back(settings.url)
    if settings.json:
        show_json({"before": before, "after": after})
    say(f"The database takes {size(after)} ({size(before)} before)")


@db.command()
@click.option(
    "--sample",
    metavar="SHARE|N",
    help="Check only a share of all chunks (0.01), or N of them, and pairs and totals of that share of jobs.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed that draws the sample.")
@with_settings
def check(settings: Settings, /, sample: str | None, seed: int) -> int:
    """Check that the stored data is complete and undamaged.

    Keys, counts, states, sums, sampled cells and top components are recomputed from the data they derive
    from; everything else is compared with checksums. Workers may run during the check: each chunk is read in
    its own short transaction.

    Prints one line per problem, then what to do about it. Exit code 1 if there is a problem.
    """
    part = None if sample is None else checking.Sample.read(sample, seed)
    with shown_count("chunk", "checked") as progress:
        report = checking.check(settings.url, sample=part, on_progress=progress)
    if settings.json:
        show_json(report)
        return FAILED if report.problems else DONE
    for problem in report.problems:
        click.echo(visible(problem))
    for line in _summary(report):
        say(line)
    return FAILED if report.problems else DONE


def _summary(report: checking.CheckReport) -> Iterator[str]:
    chunks = counted(report.chunks, "chunk")
    if report.chunks < report.chunks_total:
        share = percent(report.chunks / report.chunks_total)
        chunks = f"{report.chunks:,} of {counted(report.chunks_total, 'chunk')} ({share})"
    cells, took = counted(report.cells, "exact cell"), seconds(report.seconds)
    rate = f", {report.chunks / report.seconds:,.0f} chunks/s" if report.chunks and report.seconds else ""
    yield (
        f"Checked {counted(report.jobs, 'job')}, {chunks}, {counted(report.blobs, 'blob')} and {cells} of "
        f"version {report.revision} in {took}{rate}"
    )
    yield f"{counted(len(report.problems), 'problem')} found"
    yield from report.advice
