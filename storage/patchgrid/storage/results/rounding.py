"""A job's rounding floor: summed over its chunks, and as text."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.estimates import Rounding
from patchgrid.estimates.rounding import NEAR, is_near
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.tables import rounding as table

#: The floor is shown only if it is at least this share of the median effect.
_MATTERS = 1e-3


def job_rounding(session: Session, job: JobRecord) -> Rounding:
    """Add up what the job's chunks have committed."""
    sums = func.coalesce(func.sum(table.c.cells), 0), func.coalesce(func.sum(table.c.squares), 0.0)
    cells, squares = session.execute(select(*sums).where(table.c.job_id == job.id)).one()
    return Rounding(int(cells), float(squares))


def rounding_json(rounding: Rounding) -> dict[str, Any] | None:
    """Return the floor as JSON, in units of the job's metric; None where nothing was patched."""
    return None if rounding.floor is None else {"floor": rounding.floor, "cells": rounding.cells}


def rounding_warning(rounding: Mapping[str, Any] | None, effects: Iterable[float | None]) -> str | None:
    """Return a warning if effects are near the floor."""
    floor = None if rounding is None else float(rounding["floor"])
    if not is_near(floor, effects):
        return None
    return (
        f"the median effect shown is less than {NEAR} times the rounding floor, ±{floor:.1g}: "
        "use --dtype float32 for more precision"
    )


def floor_words(rounding: Mapping[str, Any], unit: str) -> str:
    """Write the floor: `Rounding floor: ±0.003 logit_diff for one cell, measured on 20`."""
    return f"Rounding floor: ±{rounding['floor']:.1g} {unit} for one cell, measured on {rounding['cells']:,}"


def shown_rounding(
    rounding: Mapping[str, Any] | None, rows: Iterable[ComponentRow], unit: str
) -> dict[str, Any] | None:
    """Return the floor with its words for a table of these rows, as JSON.

    `line` is None where the floor does not matter, `warning` where the rows' effects are not near it.
    """
    if rounding is None:
        return None
    effects = (row.mean if row.estimate is None else row.estimate for row in rows)
    sizes = [abs(effect) for effect in effects if effect is not None]
    matters = bool(sizes) and rounding["floor"] > _MATTERS * float(np.median(sizes))
    line = floor_words(rounding, unit) if matters else None
    return {**rounding, "line": line, "warning": rounding_warning(rounding, sizes)}
