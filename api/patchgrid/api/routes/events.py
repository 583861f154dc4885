"""A job's progress as server-sent events."""

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from patchgrid.api.access import Reader, Shared
from patchgrid.api.asked import Word
from patchgrid.api.asking import JobName, refusals
from patchgrid.api.following import Seen
from patchgrid.api.held import HeldStream
from patchgrid.api.service import Service
from patchgrid.storage import joblist

router = APIRouter(tags=["jobs"])

#: Milliseconds after which a client that lost its connection comes back.
_RETRY = 2000


@router.get(
    "/v1/jobs/{job}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Events", "content": {"text/event-stream": {}}}, **refusals(404)},
)
async def events(
    service: Shared,
    _: Reader,
    job: JobName,
    last_event_id: Annotated[Word | None, Header(description="Sent by browsers that reconnect")] = None,
) -> StreamingResponse:
    """Follow a job: `event: job` with how it stands, at once and at every change; `event: end` at the end."""
    job_id = await run_in_threadpool(_find, service, job)
    service.streams.take()
    return HeldStream(
        _lines(service, job_id, last_event_id),
        service.streams.give_back,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _find(service: Service, name: str) -> int:
    with service.database.read() as session:
        return joblist.find(session, name).id


async def _lines(service: Service, job_id: int, known: str | None) -> AsyncIterator[str]:
    yield f"retry: {_RETRY}\n\n"
    async for seen in service.followers.follow(job_id, known):
        if seen is None:
            yield ": nothing new\n\n"
            continue
        if seen.version != known:
            known = seen.version
            yield _event("job", seen)
        if seen.ended:
            yield _event("end", seen)


def _event(kind: str, seen: Seen) -> str:
    data = json.dumps(seen.document, ensure_ascii=False)
    return f"event: {kind}\nid: {seen.version}\ndata: {data}\n\n"
