"""A job's pairs: the list, and everything stored about one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.orm import Session

from patchgrid.api.routes.results import Method
from patchgrid.api.schemas.pairs import PairInFull, PairLine, Pairs
from patchgrid.api.schemas.request_models import LARGEST, Word
from patchgrid.api.service.access import Reader, Shared
from patchgrid.api.service.asking import (
    Cursor,
    Form,
    JobName,
    as_json,
    ask,
    listed,
    listings,
    refusals,
)
from patchgrid.api.web import cursors
from patchgrid.api.web.answers import Answer
from patchgrid.core.plain import plain
from patchgrid.core.states import PairState
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.documents import pair_json
from patchgrid.storage.pair_results import pair_list, pair_view
from patchgrid.storage.results.normalised import normalised_pair

router = APIRouter(tags=["pairs"])


@router.get("/v1/jobs/{job}/pairs", response_model=Pairs, responses=listings(404))
def list_pairs(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    state: PairState | None = None,
    search: Annotated[Word | None, Query(description="Search in the id and both prompts")] = None,
    name: Annotated[Word | None, Query(description="Only the pair with this id, or in this row")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Cursor = None,
    form: Form = "json",
) -> Response:
    """List a job's pairs in order, with their states."""
    place = cursors.read(cursor, 1)
    after = -1 if place is None else place[0]

    def make(session: Session, record: JobRecord) -> Answer:
        page = pair_list.page(
            session, record, after=after, limit=limit, state=state, search=search, name=name
        )
        after_it = None if page.next is None else (page.next,)
        document = {"job": record.id, "next": cursors.write(after_it), "items": plain(page.items)}
        return listed(form, document, f"job-{record.id}-pairs", PairLine)

    return ask(service, request, caller, job, make)


@router.get("/v1/jobs/{job}/pairs/{row}", response_model=PairInFull, responses=refusals(404))
def show_pair(
    request: Request,
    service: Shared,
    caller: Reader,
    job: JobName,
    row: Annotated[int, Path(ge=0, le=LARGEST, description="The pair's row number in the job, from 0")],
    method: Method = None,
    normalise: Annotated[
        bool, Query(description="Show scores and effects as shares of the pair's own difference")
    ] = False,
) -> Response:
    """Show one pair: tokens, metrics, scores, strongest components, exact effects."""

    def make(session: Session, record: JobRecord) -> Answer:
        view = pair_view.pair_at(session, record, row, method)
        return as_json(pair_json(record, normalised_pair(record, view) if normalise else view))

    return ask(service, request, caller, job, make)
