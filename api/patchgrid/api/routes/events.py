"""A job's progress as server-sent events."""

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from patchgrid.api.schemas.request_models import Word
from patchgrid.api.service.access import Caller, Reader, Shared, still_known
from patchgrid.api.service.asking import JobName, refusals
from patchgrid.api.service.following import Seen
from patchgrid.api.service.service import Service
from patchgrid.api.service.streaming import ReleasingStream
from patchgrid.core.errors import PatchgridError
from patchgrid.storage.jobs import job_list

router = APIRouter(tags=["jobs"])

#: Milliseconds before a disconnected client reconnects.
_RETRY = 2000
#: Seconds between keep-alive comments.
_ALIVE = 15.0


@router.get(
    "/v1/jobs/{job}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Events", "content": {"text/event-stream": {}}}, **refusals(404)},
)
async def events(
    service: Shared,
    caller: Reader,
    job: JobName,
    last_event_id: Annotated[Word | None, Header(description="Sent by browsers on reconnect")] = None,
) -> StreamingResponse:
    """Follow a job: `event: job` with its status, at once and at every change; `event: end` at the end."""
    job_id = await run_in_threadpool(_find, service, caller, job)
    service.streams.take(caller.key)
    return ReleasingStream(
        _lines(service, caller, job_id, last_event_id),
        partial(service.streams.give_back, caller.key),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _find(service: Service, caller: Caller, name: str) -> int:
    with service.database.read() as session:
        return job_list.find(session, name, caller.owner).id


async def _lines(service: Service, caller: Caller, job_id: int, version: str | None) -> AsyncIterator[str]:
    yield f"retry: {_RETRY}\n\n"
    last_sent = time.monotonic()
    async for seen in service.followers.follow(job_id, version, _ALIVE):
        if time.monotonic() - last_sent >= _ALIVE:
            last_sent = time.monotonic()
            if not await run_in_threadpool(_may_go_on, service, caller):
                # A client that reconnects gets the reason.
                return
        if seen is None:
            yield ": nothing new\n\n"
            continue
        if seen.version != version:
            version = seen.version
            yield _event("job", seen)
        if seen.ended:
            yield _event("end", seen)


def _may_go_on(service: Service, caller: Caller) -> bool:
    try:
        return still_known(service, caller)
    except PatchgridError:
        return True  # the database is unavailable: retry


def _event(kind: str, seen: Seen) -> str:
    data = json.dumps(seen.document, ensure_ascii=False)
    return f"event: {kind}\nid: {seen.version}\ndata: {data}\n\n"
