"""Mean effects by group of pairs, as tables."""

from patchgrid.cli.terminal.screen import say, visible
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.text.number_format import number, percent, with_interval
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.groups import RATE, ByGroup, GroupMean


def show_groups(found: ByGroup, job: JobRecord) -> None:
    """Print components, one a line, with the two groups furthest apart."""
    columns = [Column("component"), *(Column(name, number=True) for name in ("estimate", "spread"))]
    columns += [Column("lowest"), Column("highest"), Column("")]
    rows = []
    for each in found.items:
        groups = sorted((one for one in each.groups if one.mean is not None), key=lambda one: one.mean or 0.0)
        ends = [_end(groups[0]), _end(groups[-1])] if groups else ["", ""]
        cells = [each.component, number(each.estimate, sign=True), number(each.spread)]
        rows.append([*cells, *ends, "differ" if each.differs else ""])
    show_table(columns, rows)
    say(
        f"{found.differing:,} of {found.compared:,} components differ between the {job.groups} groups "
        f"(false discovery rate {percent(RATE)})"
    )


def show_one(found: ByGroup, job: JobRecord) -> None:
    """Print every group's mean effect on components, one of them as a rule."""
    for each in found.items:
        columns = [
            Column("group"),
            *(Column(name, number=True) for name in ("estimate", "95% interval", "pairs")),
        ]
        rows = []
        for group in each.groups:
            middle, interval = with_interval(group.mean, group.ci_low, group.ci_high)
            rows.append([visible(group.group), middle, interval, f"{group.n:,}"])
        middle, interval = with_interval(each.estimate, each.ci_low, each.ci_high)
        rows.append(["all", middle, interval, f"{sum(group.n for group in each.groups):,}"])
        show_table(columns, rows, each.component)
        chance = "" if each.p is None else f" (p {number(each.p)})"
        verdict = "differs" if each.differs else "does not certainly differ"
        spread = f"spread {number(each.spread)} {job.spec.metric}"
        say(f"{each.component} {verdict} between groups: {spread}{chance}")


def _end(group: GroupMean) -> str:
    return f"{number(group.mean, sign=True)} {visible(group.group)}"
