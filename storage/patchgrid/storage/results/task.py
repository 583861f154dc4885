"""Whether the model does a job's task: sums over its chunks, cheap at any size."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from patchgrid.estimates import TaskSummary
from patchgrid.estimates.task import NAMED, WEAK
from patchgrid.storage.jobs.jobs import JobRecord, pair_name
from patchgrid.storage.results.task_line import answer_words, task_line, task_warnings
from patchgrid.storage.tables import outcome, pair
from patchgrid.storage.tables import task as table

_SUMMED = tuple(field.name for field in dataclasses.fields(TaskSummary) if not field.name.endswith("_pairs"))
#: Pairs searched for the first measured ones.
_LOOKED_AT = 1000
_SAME_PAIR = and_(outcome.c.job_id == pair.c.job_id, outcome.c.pair_index == pair.c.pair_index)


@dataclass(frozen=True, slots=True)
class Task:
    """A job's task, from the pairs measured so far."""

    #: The job's metric.
    metric: str
    summary: TaskSummary
    #: The first pairs' answers as the model's tokens, where they are given as ids or the task is not done.
    answers: tuple[str, ...] = ()

    @property
    def line(self) -> str | None:
        """A one-line summary of the unpatched runs; None if unknown."""
        return task_line(self.summary, self.metric)

    @property
    def warnings(self) -> list[str]:
        """What is wrong, a line each."""
        return task_warnings(self.summary, self.answers)


def job_task(session: Session, job: JobRecord) -> Task:
    """Add up what the job's chunks have committed."""
    row = session.execute(
        select(*(func.coalesce(func.sum(table.c[name]), 0) for name in _SUMMED)).where(
            table.c.job_id == job.id
        )
    ).one()
    counts: dict[str, Any] = dict(zip(_SUMMED, row, strict=True))
    named = {
        f"{what}_pairs": _named(session, job, table.c[count], table.c[f"{what}_pairs"])
        for what, count in (("swapped", "swapped"), ("outside", "outside_vocabulary"))
        if counts[count]
    }
    numbers = {name: float(value) if _is_sum(name) else int(value) for name, value in counts.items()}
    summary = TaskSummary(**numbers, **named)  # type: ignore[arg-type]
    shares = (summary.clean_share, summary.corrupted_share)
    doubtful = any(share is not None and share < WEAK for share in shares)
    return Task(job.spec.metric, summary, _first_answers(session, job, texts=doubtful))


def task_json(task: Task) -> dict[str, Any] | None:
    """Return the task as JSON, in words too; None where nothing is known."""
    summary = task.summary
    if task.line is None and not task.warnings:
        return None
    return {
        "metric": task.metric,
        **{
            name: getattr(summary, name) for name in ("pairs", "measured", "clean_metric", "corrupted_metric")
        },
        **{name: getattr(summary, name) for name in ("difference", "difference_error", "clean_correct")},
        **{
            name: getattr(summary, name) for name in ("clean_share", "corrupted_incorrect", "corrupted_share")
        },
        "swapped": summary.swapped,
        "swapped_pairs": list(summary.swapped_pairs),
        "outside_vocabulary": summary.outside_vocabulary,
        "outside_pairs": list(summary.outside_pairs),
        "answers": list(task.answers),
        "line": task.line,
        "warnings": task.warnings,
    }


def _is_sum(name: str) -> bool:
    return name.endswith("_sum") or name == "difference_squares"


def _named(
    session: Session, job: JobRecord, count: ColumnElement[int], examples: ColumnElement[Any]
) -> tuple[int | str, ...]:
    """Return the first of the pairs named by chunks, which may be split and finish in any order."""
    by_chunk = session.scalars(select(examples).where(table.c.job_id == job.id, count > 0))
    rows = sorted(index for few in by_chunk for index in few)[:NAMED]
    query = select(pair.c.pair_index, pair.c.name).where(pair.c.job_id == job.id, pair.c.pair_index.in_(rows))
    return tuple(pair_name(*row) for row in session.execute(query.order_by(pair.c.pair_index)))


def _first_answers(session: Session, job: JobRecord, *, texts: bool) -> tuple[str, ...]:
    """Return the first pairs' answers as the model's tokens; answers given as texts only on request."""
    columns = (pair.c.correct, pair.c.incorrect, outcome.c.correct_tokens, outcome.c.incorrect_tokens)
    query = select(*columns).join_from(outcome, pair, _SAME_PAIR)
    first = query.where(
        outcome.c.job_id == job.id,
        outcome.c.pair_index < _LOOKED_AT,
        outcome.c.correct_tokens.is_not(None),
    )
    return tuple(
        f"{answer_words(row.correct, row.correct_tokens)} not "
        f"{answer_words(row.incorrect, row.incorrect_tokens)}"
        for row in session.execute(first.order_by(outcome.c.pair_index).limit(NAMED))
        if texts or any(isinstance(answer, int) for answer in (*row.correct, *row.incorrect))
    )
