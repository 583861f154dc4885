"""Workers, queue, models, health, Prometheus metrics, and the client's access."""

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import text

from patchgrid.api.schemas.cluster import Access, Health, Models, Queue, Workers
from patchgrid.api.service.access import Caller, Reader, Shared, find_caller
from patchgrid.api.service.asking import (
    Form,
    as_json,
    listed,
    listings,
    refusals,
    respond,
)
from patchgrid.core.plain import plain
from patchgrid.storage.queue import metrics, workers
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord

router = APIRouter(tags=["cluster"])


@router.get("/v1/workers", response_model=Workers, responses=listings())
def list_workers(request: Request, service: Shared, _: Reader, form: Form = "json") -> Response:
    """List the workers of the last day."""
    with service.database.read() as session:
        document = workers.list_workers(session)
    return respond(request, listed(form, {"items": plain(document)}, "workers", WorkerRecord))


@router.get("/v1/queue", response_model=Queue, responses=listings())
def list_queue(request: Request, service: Shared, _: Reader, form: Form = "json") -> Response:
    """List the queue of each model."""
    with service.database.read() as session:
        found = metrics.queues(session)
    document = metrics.with_messages(found, service.count_messages)
    return respond(request, listed(form, {"items": plain(document)}, "queue", ModelQueue))


@router.get("/v1/models", response_model=Models, responses=refusals())
def list_models(request: Request, service: Shared, _: Reader) -> Response:
    """List the models that jobs may use."""
    items = [
        {"model": each.model, "revision": each.revision, "serving": serving}
        for each, serving in service.models().items()
    ]
    return respond(request, as_json({"items": items}))


# A token is optional, but a wrong one is refused.
@router.get("/v1/access", response_model=Access, responses=refusals(), openapi_extra={"security": [{}]})
def show_access(
    request: Request, service: Shared, caller: Annotated[Caller, Depends(find_caller)]
) -> Response:
    """Return what this client may do; works without a token."""
    limits = service.settings
    document = {
        "open": caller.open,
        "token": caller.name,
        "scopes": caller.scopes,
        "version": version("patchgrid"),
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "pairs": limits.pairs,
            "open_jobs": limits.open_jobs,
            "priority": caller.max_priority,
            "bytes": caller.max_bytes,
            "requests_per_second": limits.requests_per_second,
        },
    }
    return respond(request, as_json(document))


# Some load balancers use HEAD.
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_model=Health, responses={503: refusals()[503]})
def health(service: Shared) -> dict[str, str]:
    """Return whether the server and its database are available."""
    with service.database.read() as session:
        session.execute(text("SELECT 1"))
        kind = session.get_bind().dialect.name
    return {"status": "ok", "database": kind, "version": version("patchgrid")}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus' text", "content": {"text/plain": {}}}, **refusals()},
)
def prometheus(service: Shared, _: Reader) -> Response:
    """Return metrics in Prometheus' text format."""
    with service.database.read() as session:
        found, records = metrics.queues(session), workers.list_workers(session)
    served = metrics.with_served(found, records)
    document = metrics.prometheus_text(metrics.with_messages(served, service.count_messages), records)
    return Response(document, media_type="text/plain; version=0.0.4; charset=utf-8")
