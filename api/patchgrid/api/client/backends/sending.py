"""Submitting a pair file with its spec, after checking both here."""

import uuid
from pathlib import Path
from typing import Any

from patchgrid.api.client.http.service import Document, Service
from patchgrid.api.client.http.upload import Passed
from patchgrid.storage.access.submitting import Order


def send(service: Service, order: Order, passed: Passed = lambda _gone, _all: None) -> Document:
    """Submit; once stored, resubmitting finds the job.

    A file too large for the server, or a token that is not allowed, is refused before anything is sent.
    """
    file = order.file
    service.may_submit(file.path.stat().st_size, order.summary.count)
    also: dict[str, Any] = {
        "name": order.name,
        "key": order.own_key,
        "priority": order.priority,
        "chunk_size": order.chunk_size,
        "refinements": [each.as_dict() for each in order.refinements] or None,
    }
    read = {"limit": file.limit, "columns": file.columns or None}
    settings = {name: value for name, value in (also | read).items() if value is not None}
    return service.submit(
        file.path,
        order.spec.as_dict() | settings,
        name=Path(file.name).name,
        # One key per submit, kept across retries; running the command again uses a new one.
        key=f"patchgrid-{uuid.uuid4().hex}",
        passed=passed,
    )
