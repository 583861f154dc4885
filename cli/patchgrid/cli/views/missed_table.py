"""Bounds on the effects of rarely patched components: a table, and one line."""

from collections.abc import Sequence

import click

from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.sites import EDGE, NEURON, SITES
from patchgrid.core.text.number_format import number, percent, with_interval
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.subsets.missed import CONFIDENCE, FEWEST_CELLS, MissedBound

confidence_option = click.option(
    "--confidence",
    type=click.FloatRange(0.5, 0.9999),
    metavar="SHARE",
    default=CONFIDENCE,
    show_default=True,
    help="Confidence of the bound, and of all intervals together.",
)
#: Components named in a line.
_NAMED = 5


def show_missed(settings: Settings, job: JobRecord, found: Sequence[MissedBound]) -> None:
    """Print the bound of each site, with the components of largest bound."""
    if not found:
        say(f"No subsets were patched; measure some: {settings.command(f'job missed {job.id}')}")
    for each in found:
        columns = [Column("component"), *(Column(name, number=True) for name in _COLUMNS), Column("")]
        rows = []
        for row in each.largest:
            middle, interval = with_interval(row.estimate, row.ci_low, row.ci_high)
            mark = "stands out" if row.stands_out else ""
            rows.append([row.name, number(row.mean, sign=True), middle, interval, number(row.bound), mark])
        if rows:
            show_table(columns, rows)
        say(missed_line(each, job.spec.metric))
        if each.standing_out:
            names = ",".join(row.name for row in each.standing_out[:_NAMED])
            command = settings.command(f"job refine {job.id} --components {names}")
            say(f"Patch what stands out exactly: {command}")


_COLUMNS = ("mean score", "among others", "interval", "bound")


def missed_line(found: MissedBound, unit: str) -> str:
    """Write a bound as one sentence."""
    kind = SITES[found.site].index
    noun = "component" if kind is None else kind.name
    where = "" if kind == NEURON else f" at {found.site}"
    if found.site == EDGE:
        noun, where = "edge", ""
    few = f"patched in fewer than {FEWEST_CELLS} pairs"
    out = found.standing_out
    names = ", ".join(row.name for row in out[:_NAMED]) + (", …" if len(out) > _NAMED else "")
    but = f" besides {names}" if out else ""
    measured = f"{found.subsets} subsets on each of {counted(found.pairs, 'pair')}"
    return (
        f"Of {counted(found.components, noun)}{where} {few}, none{but} has |mean effect| above "
        f"{number(found.bound)} {unit} ({percent(found.confidence)}; {measured})"
    )
