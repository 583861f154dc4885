"""Exports: all rows of a kind, streamed."""

from contextlib import ExitStack
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from patchgrid.api.routes.results import Method, Normalise
from patchgrid.api.service.access import Reader, Shared
from patchgrid.api.service.asking import JobName, refusals
from patchgrid.api.service.streaming import ReleasingStream
from patchgrid.storage.jobs import job_list
from patchgrid.storage.output.export import export_rows, fields_of
from patchgrid.storage.output.row_files import check_format, in_parts

router = APIRouter(tags=["results"])

_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


@router.get(
    "/v1/jobs/{job}/export",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The rows", "content": {kind: {} for kind in _TYPES.values()}},
        **refusals(404, 501),
    },
)
def export(
    service: Shared,
    caller: Reader,
    job: JobName,
    what: Literal["scores", "exact", "components", "pairs"] = "components",
    form: Annotated[Literal["jsonl", "csv", "parquet"], Query(alias="format")] = "jsonl",
    method: Method = None,
    normalise: Normalise = False,
) -> StreamingResponse:
    """Return all rows of a kind as a file, in an order that depends only on the job.

    If the job is deleted or reopened during the export, or the client reads too slowly, the connection is
    closed early, so that a truncated file is never taken for a complete one.
    """
    check_format(form)
    with ExitStack() as stack:
        stack.enter_context(service.exports.one(caller.key))
        with service.database.read() as session:
            record = job_list.find(session, job, caller.owner)
        rows = export_rows(service.database, record, what, method, normalise=normalise)
        fields = fields_of(record, what, normalise=normalise)
        parts = in_parts(form, fields, rows, text_positions=bool(record.spans))
        name = f"job-{record.id}-{what}.{form}"
        resources = stack.pop_all()
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return ReleasingStream(
        parts,
        resources.close,
        least=service.settings.export_bytes_per_second,
        media_type=_TYPES[form],
        headers=headers,
    )
