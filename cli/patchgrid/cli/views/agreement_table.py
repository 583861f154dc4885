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
        for name in ("cells", "patched", "Pearson", "Spearman", "slope", "bias", "same sign")
    ]
    columns.append(Column("top k" if several else "top-k overlap", number=True))
    if several:
        columns.append(Column("s/1,000", number=True))
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
        cells.append([*cell, _overlap(row, short=several), *[number(cost.scores[row.method])] * several])
    show_table(columns, cells, title)
    _say_cost(cost, several=several)


def _share(row: SiteAgreement) -> str:
    return percent(row.n / row.cells if row.cells else None)


def _overlap(row: SiteAgreement, *, short: bool) -> str:
    if row.top_overlap is None:
        return NONE
    shared = round(row.top_overlap * row.top_k)
    return f"{shared}/{row.top_k}" if short else f"{shared} of {row.top_k} (of {row.components:,})"


def _say_cost(cost: Cost, *, several: bool) -> None:
    """Print the time of scoring and of exact patching."""
    if cost.exact is None:
        return
    scores = ""
    if not several:
        ((method, seconds),) = cost.scores.items()
        scores = f"{method} {number(seconds)} s, "
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
