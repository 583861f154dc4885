"""Components as a table."""

from collections.abc import Sequence

from patchgrid.cli.figures import Scale
from patchgrid.cli.tables import Column, show_table
from patchgrid.storage.components import ComponentRow


def show_components(
    rows: Sequence[ComponentRow], *, absolute: bool = False, title: str | None = None
) -> None:
    """Print components with their means and, if any was sampled, estimates; `absolute` adds mean |score|."""
    sampled = any(row.exact_n for row in rows)
    scale = Scale(value for row in rows for value in (row.mean, row.estimate, row.ci_low, row.ci_high))
    columns = [Column("component"), Column("mean score", number=True)]
    if absolute:
        columns.append(Column("mean |score|", number=True))
    if sampled:
        columns += [Column(name, number=True) for name in ("estimate", "95% interval", "exact")]
    columns.append(Column("pairs", number=True))
    cells = []
    for row in rows:
        cell = [row.name, scale.write(row.mean)]
        if absolute:
            cell.append(scale.write(row.mean_abs, sign=False))
        if sampled:
            cell += [scale.write(row.estimate), scale.interval(row.ci_low, row.ci_high), f"{row.exact_n:,}"]
        cells.append([*cell, f"{row.n:,}"])
    show_table(columns, cells, title)
