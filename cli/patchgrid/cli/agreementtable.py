"""How scores and exact effects agree, as a table: a line a site, or a site and method."""

from collections.abc import Sequence

from patchgrid.cli.figures import Scale, ratio
from patchgrid.cli.screen import counted, say
from patchgrid.cli.tables import Column, show_table
from patchgrid.storage.verification import Cost, SiteAgreement


def show_agreement(rows: Sequence[SiteAgreement], cost: Cost, title: str | None = None) -> None:
    """Print the verification of each site and method, with its sample's size, and what that cost."""
    several = len(cost.scores) > 1
    scale = Scale(row.bias for row in rows)
    columns = [Column("site"), *[Column("method")] * several] + [
        Column(name, number=True) for name in ("cells", "Pearson", "Spearman", "slope", "bias", "same sign")
    ]
    columns.append(Column("top k" if several else "top-k overlap", number=True))
    if several:
        columns.append(Column("s/1,000", number=True))
    cells = []
    for row in rows:
        numbers = [ratio(row.pearson), ratio(row.spearman), ratio(row.slope), scale.write(row.bias)]
        cell = [row.site, *[row.method] * several, f"{row.n:,}", *numbers, ratio(row.sign_agreement)]
        cells.append([*cell, _overlap(row, short=several), *[_seconds(cost.scores[row.method])] * several])
    show_table(columns, cells, title)
    _say_cost(cost, several=several)


def _overlap(row: SiteAgreement, *, short: bool) -> str:
    if row.top_overlap is None:
        return "-"
    shared = round(row.top_overlap * row.top_k)
    return f"{shared}/{row.top_k}" if short else f"{shared} of {row.top_k} (of {row.components:,})"


def _say_cost(cost: Cost, *, several: bool) -> None:
    """Say what patching took beside the scores: what a method saves, and what checking it costs."""
    if cost.exact is None:
        return
    scores = ""
    if not several:
        ((method, seconds),) = cost.scores.items()
        scores = f"{method} {_seconds(seconds)} s, "
    effects = counted(cost.effects, "effect")
    say(f"Per 1,000 pairs: {scores}exact patching {_seconds(cost.exact)} s ({effects} in all)")


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
