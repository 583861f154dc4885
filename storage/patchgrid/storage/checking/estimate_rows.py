"""A job's rows of the table `component_estimate`, computed again from its chunks' sums."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from patchgrid.core.states import FINISHED_JOBS
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.component_table import estimate_rows
from patchgrid.storage.tables import component_estimate as table

#: Relative difference of numbers that another machine's rounding makes.
_CLOSE = 1e-9
_COLUMNS = [column.name for column in table.columns]
#: What a number belongs to.
_KEY = ("method", "site", "component", "position", "span")


def estimate_problems(session: Session, job: JobRecord) -> Iterator[str]:
    """Name the first row of each method that differs from the job's sums, or is missing."""
    stored = session.execute(select(table).where(table.c.job_id == job.id).order_by(*table.primary_key)).all()
    finished = job.state in FINISHED_JOBS
    if stored and not finished:
        yield f"state is {job.state}, but it has {len(stored)} rows in table {table.name}"
    if not finished:
        return
    computed = [dict(zip(_COLUMNS, row, strict=True)) for row in estimate_rows(session, job)]
    for method in sorted({*job.estimators, *(row.method for row in stored)}):
        mine = [row for row in stored if row.method == method]
        problem = _first_problem(mine, [row for row in computed if row["method"] == method])
        if problem is not None:
            yield f"table {table.name}, {method}: {problem}"


def _first_problem(stored: Sequence[Row[Any]], expected: Sequence[Mapping[str, Any]]) -> str | None:
    if len(stored) != len(expected):
        return f"{len(stored)} rows, expected {len(expected)}"
    by_key = {tuple(row[name] for name in _KEY): row for row in expected}
    for row, at_rank in zip(stored, expected, strict=True):
        expected_row = by_key.get(tuple(getattr(row, name) for name in _KEY))
        # Components of one size may change places where another machine rounds.
        if expected_row is None or not _close(_size(expected_row), _size(at_rank)):
            return f"rank {row.rank} is {row.component}, expected {at_rank['component']}"
        for name in _COLUMNS:
            if name != "rank" and not _close(getattr(row, name), expected_row[name]):
                return f"{name} of {row.component} is {getattr(row, name)!r}, expected {expected_row[name]!r}"
        if row.rank != at_rank["rank"]:
            return f"the rank of {row.component} is {row.rank}, expected {at_rank['rank']}"
    return None


def _size(row: Mapping[str, Any]) -> float:
    value = row["mean"] if row["estimate"] is None else row["estimate"]
    return abs(float(value))


def _close(actual: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return isinstance(actual, float) and math.isclose(actual, expected, rel_tol=_CLOSE, abs_tol=1e-300)
    return bool(actual == expected)
