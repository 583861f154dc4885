"""A job's pairs page by page, in order, with their states."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.core.states import PairState
from patchgrid.storage.db.search import contains
from patchgrid.storage.errors import PairNotFound
from patchgrid.storage.jobs.jobs import JobRecord, pair_name
from patchgrid.storage.pair_results.pair_view import find_row
from patchgrid.storage.tables import HAS_FAILED, failed_pair, outcome, pair

#: What may have become of a pair.
#: Most pairs a page.
MOST = 1000
#: Most pairs read for one page.
LOOKED_AT = 50_000
_COLUMNS = (
    *(pair.c.pair_index, pair.c.name, pair.c.clean, pair.c.corrupted),
    *(outcome.c.state, outcome.c.error, outcome.c.warning),
    *(outcome.c.clean_metric, outcome.c.corrupted_metric),
    *(outcome.c.clean_preference, outcome.c.corrupted_preference),
)
_ITS_OUTCOME = and_(outcome.c.job_id == pair.c.job_id, outcome.c.pair_index == pair.c.pair_index)
_PAIRS = select(*_COLUMNS).select_from(pair).outerjoin(outcome, _ITS_OUTCOME)
_FAILED_PAIRS = (
    select(*_COLUMNS)
    .select_from(failed_pair)
    .join(pair, (pair.c.job_id == failed_pair.c.job_id) & (pair.c.pair_index == failed_pair.c.pair_index))
    .join(outcome, _ITS_OUTCOME)
    .where(HAS_FAILED)
)


@dataclass(frozen=True, slots=True)
class PairLine:
    """A pair and its state."""

    #: The given id, else the row number.
    pair: int | str
    #: Row number in the job.
    row: int
    #: Its outcome.
    state: PairState
    #: Why it failed, else None.
    error: str | None
    #: What the user should know though it was measured.
    warning: str | None
    #: The prompts.
    clean: str
    corrupted: str
    #: Metrics of the unpatched runs, or None.
    clean_metric: float | None
    corrupted_metric: float | None
    #: How far each unpatched run prefers the correct answers (`estimates.task`), or None.
    clean_preference: float | None
    corrupted_preference: float | None


@dataclass(frozen=True, slots=True)
class PairPage:
    """Some of a job's pairs."""

    #: In order of row.
    items: tuple[PairLine, ...]
    #: The row to continue after, or None: there are no more. Items may be few, or none, and more come later.
    next: int | None


def page(
    session: Session,
    job: JobRecord,
    *,
    after: int = -1,
    limit: int = 100,
    state: str | None = None,
    search: str | None = None,
    name: int | str | None = None,
) -> PairPage:
    """Return the job's pairs behind row `after`, at most `limit` (and at most `MOST`).

    `state` selects those in a state (raises `SpecError` if unknown), `search` those with a text in the id
    or in a prompt, whatever the case of its letters, `name` the one of this id, else of this row number.
    Looks at no more than `LOOKED_AT` pairs.
    """
    limit, after = max(1, min(limit, MOST)), max(-1, min(after, job.pairs))
    if state is not None:
        check_name("state of a pair", state, [*map(str, PairState)], "state")
    key, query = _query(job, state)
    if search:
        query = query.where(contains(search, pair.c.name, pair.c.clean, pair.c.corrupted))
    last = job.pairs - 1
    if name is not None:
        try:
            query = query.where(key.pair_index == find_row(session, job, name).pair_index)
        except PairNotFound:
            return PairPage((), None)
    elif search or state not in (None, "failed"):
        last = _last_looked_at(session, job, after, state)
    query = query.where(key.pair_index > after, key.pair_index <= last).order_by(key.pair_index)
    rows = session.execute(query.limit(limit + 1)).all()
    items = tuple(map(_line, rows[:limit]))
    if len(rows) > limit:
        return PairPage(items, items[-1].row)
    return PairPage(items, last if last < job.pairs - 1 else None)


def _query(job: JobRecord, state: str | None) -> tuple[Any, Select[Any]]:
    """Return the query for the job's pairs in a state, and the columns by which it goes through them."""
    if state == "failed":
        return failed_pair.c, _FAILED_PAIRS.where(failed_pair.c.job_id == job.id)
    query = _PAIRS.where(pair.c.job_id == job.id)
    if state is not None:
        query = query.where(
            outcome.c.state.is_(None) if state == PairState.PENDING else outcome.c.state == state
        )
    return pair.c, query


def _last_looked_at(session: Session, job: JobRecord, after: int, state: str | None) -> int:
    """Return the row of the last pair to look at."""
    last = job.pairs - 1
    if state != "failed":
        return min(after + LOOKED_AT, last)
    key = failed_pair.c
    behind = select(key.pair_index).where(key.job_id == job.id, HAS_FAILED, key.pair_index > after)
    looked_at = behind.order_by(key.pair_index).limit(LOOKED_AT).subquery()
    count, last_row = session.execute(select(func.count(), func.max(looked_at.c.pair_index))).one()
    return last if count < LOOKED_AT else int(last_row)


def _line(row: Row[Any]) -> PairLine:
    return PairLine(
        pair=pair_name(row.pair_index, row.name),
        row=row.pair_index,
        state=PairState.PENDING if row.state is None else PairState(row.state),
        error=row.error,
        warning=row.warning,
        clean=row.clean,
        corrupted=row.corrupted,
        clean_metric=row.clean_metric,
        corrupted_metric=row.corrupted_metric,
        clean_preference=row.clean_preference,
        corrupted_preference=row.corrupted_preference,
    )
