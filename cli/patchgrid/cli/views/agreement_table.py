"""The verification tables: a line per site, or per site and method, and what they say in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.text.number_format import number, percent, with_error
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.advice import advise
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost


def show_agreement(
    settings: Settings,
    job: JobRecord,
    rows: Sequence[SiteAgreement],
    cost: Cost,
    *,
    title: str | None = None,
    detail: bool = False,
) -> None:
    """Print the verification of each site and method, its cost, and the advice that follows.

    With `detail` a second table has the figures that the first leaves out.
    """
    several = len(cost.scores) > 1
    names = [Column("site"), *[Column("method")] * several]
    numbers = ("patched", "Pearson", "slope", "same sign", "top k")
    columns = names + [Column(name, number=True) for name in numbers]
    show_table(columns, [[row.site, *[row.method] * several, *_figures(row)] for row in rows], title)
    if detail:
        parts = [
            Column("over"),
            *(Column(name, number=True) for name in ("n", "Pearson", "slope")),
            Column(""),
        ]
        lines = [
            [row.site, *[row.method] * several, *part] if first else ["", *[""] * several, *part]
            for row in rows
            for first, part in zip((True, False, False, False), _parts(row), strict=True)
        ]
        show_table(names + parts, lines, "All figures")
    _say_cost(cost)
    for each in advise(job, rows, cost):
        command = "" if each.command is None else f": {settings.command(each.command)}"
        say(f"{each.text}{command}")


def _figures(row: SiteAgreement) -> Iterator[str]:
    """Yield what the table has in short: component means, signs of the cells that matter, top list."""
    yield percent(row.n / row.cells if row.cells else None)
    yield with_error(row.mean_pearson, row.mean_pearson_se)
    yield with_error(row.mean_slope, row.mean_slope_se)
    yield _share(row.sign_agreement, row.sign_agreement_se)
    yield _top(row)


def _parts(row: SiteAgreement) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the figures over component means, within components, over all cells, over those that matter."""

    def line(over: str, count: int, prefix: str, more: str) -> tuple[str, str, str, str, str]:
        pearson, slope = (
            with_error(getattr(row, f"{prefix}{name}"), getattr(row, f"{prefix}{name}_se"))
            for name in ("pearson", "slope")
        )
        return over, f"{count:,}", pearson, slope, more

    yield line("means", row.mean_n, "mean_", f"error {with_error(row.mean_error, row.mean_error_se)}")
    yield line("within", row.compared, "within_", "")
    yield line("cells", row.compared, "", f"bias {with_error(row.bias, row.bias_se, sign=True)}")
    ranks = f"{percent(row.matter_share)} of cells, Spearman {with_error(row.spearman, row.spearman_se)}"
    yield "matter", f"{row.matter_n:,}", "", "", ranks


def _share(value: float | None, error: float | None) -> str:
    if value is None:
        return percent(value)
    return f"{with_error(100 * value, None if error is None else 100 * error)} %"


def _top(row: SiteAgreement) -> str:
    """Write how much of the top list by score is that by estimate, or how much of it was patched at all."""
    top = min(row.top_k, row.components)
    if row.top_overlap is not None:
        error = 0.0 if row.top_overlap_se is None else row.top_overlap_se * row.top_k
        return f"{round(row.top_overlap * row.top_k)}/{row.top_k} ± {number(error, 1)}"
    return f"{row.top_patched}/{top} patched"


def _say_cost(cost: Cost) -> None:
    """Print the time of scoring, by method, and of exact patching."""
    if cost.exact is None:
        return
    scores = "".join(f"{method} {number(seconds)} s, " for method, seconds in cost.scores.items())
    effects = counted(cost.effects, "effect")
    say(f"Per 1,000 pairs: {scores}exact patching {number(cost.exact)} s ({effects} in all)")


def show_furthest(cells: Sequence[Mapping[str, Any]]) -> None:
    """Print the cells whose scores are furthest from their effects, one per component."""
    columns = [Column("component"), Column("pair")]
    columns += [Column(name, number=True) for name in ("score", "exact effect", "off by", "cells")]
    rows = [
        (
            *(cell["component"], cell["pair"], number(cell["score"], sign=True)),
            *(number(cell["effect"], sign=True), number(cell["off"]), f"{cell['cells']:,}"),
        )
        for cell in cells
    ]
    show_table(columns, rows)
