"""The verification table: one line per site, or per site and method."""

from collections.abc import Mapping, Sequence
from typing import Any

from patchgrid.cli.terminal.screen import counted, say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.text.number_format import NONE, number, percent, ratio
from patchgrid.storage.results.verification import Cost, SiteAgreement


def show_agreement(rows: Sequence[SiteAgreement], cost: Cost, title: str | None = None) -> None:
    """Print the verification of each site and method, with its sample size and cost."""
    several = len(cost.scores) > 1
    columns = [Column("site"), *[Column("method")] * several] + [
        Column(name, number=True)
        for name in ("cells", "patched", "Pearson", "Spearman", "slope", "bias", "same sign", "top k")
    ]
    cells = []
    for row in rows:
        numbers = [ratio(row.pearson), ratio(row.spearman), ratio(row.slope), number(row.bias, sign=True)]
        cell = [
            row.site,
            *[row.method] * several,
            f"{row.n:,}",
            _share(row),
            *numbers,
            ratio(row.sign_agreement),
        ]
        cells.append([*cell, _overlap(row)])
    show_table(columns, cells, title)
    _say_cost(cost)


def _share(row: SiteAgreement) -> str:
    return percent(row.n / row.cells if row.cells else None)


def _overlap(row: SiteAgreement) -> str:
    return NONE if row.top_overlap is None else f"{round(row.top_overlap * row.top_k)}/{row.top_k}"


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
