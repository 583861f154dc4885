"""A chunk's row of the table `task`, worked out again from its outcomes."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from patchgrid.estimates import TaskSummary
from patchgrid.storage.chunks.chunk_result import PairOutcome, summarize_outcomes
from patchgrid.storage.tables import outcome, task

_READ = ("state", "error", "clean_metric", "corrupted_metric", "clean_preference", "corrupted_preference")


def task_problems(session: Session, chunk: Row[Any]) -> Iterator[str]:
    """Describe how the row differs from the outcomes."""
    stored = session.execute(select(task).where(task.c.chunk_id == chunk.id)).mappings().first()
    inside = outcome.c.pair_index.between(chunk.first, chunk.last - 1)
    query = select(outcome).where(outcome.c.job_id == chunk.job_id, inside).order_by(outcome.c.pair_index)
    expected = summarize_outcomes(
        [
            PairOutcome(row["pair_index"], **{name: row[name] for name in _READ})
            for row in session.execute(query).mappings()
        ]
    )
    if stored is None:
        if expected.pairs or expected.outside_vocabulary:
            yield "its row in table task is missing"
        return
    for field in dataclasses.fields(TaskSummary):
        actual, wanted = stored[field.name], getattr(expected, field.name)
        if not _same(actual, wanted):
            yield f"{field.name} in table task is {actual}, expected {wanted} from its outcomes"


def _same(actual: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return isinstance(actual, float) and math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-12)
    return bool(actual == (list(expected) if isinstance(expected, tuple) else expected))
