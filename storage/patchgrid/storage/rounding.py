"""A job's rounding floor: summed over its chunks, and in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.estimates import Rounding
from patchgrid.estimates.rounding import NEAR, is_near
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.tables import rounding as table


def job_rounding(session: Session, job: JobRecord) -> Rounding:
    """Add up what the job's chunks have committed."""
    sums = func.coalesce(func.sum(table.c.cells), 0), func.coalesce(func.sum(table.c.squares), 0.0)
    cells, squares = session.execute(select(*sums).where(table.c.job_id == job.id)).one()
    return Rounding(int(cells), float(squares))


def rounding_json(rounding: Rounding) -> dict[str, Any] | None:
    """Give the floor as JSON, in units of the job's metric; None where nothing was patched."""
    return None if rounding.floor is None else {"floor": rounding.floor, "cells": rounding.cells}


def rounding_warning(rounding: Mapping[str, Any] | None, effects: Iterable[float | None]) -> str | None:
    """Say that effects are near the floor, where they are."""
    floor = None if rounding is None else float(rounding["floor"])
    if not is_near(floor, effects):
        return None
    return (
        f"the median effect shown is less than {NEAR} times the rounding floor, ±{floor:.1g}: "
        "measure in float32 (--dtype float32) to see more of it"
    )
