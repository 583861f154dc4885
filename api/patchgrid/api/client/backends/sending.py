"""Sending a pair file with its spec, once both are checked here."""

import uuid
from pathlib import Path
from typing import Any

from patchgrid.api.client.http.service import Document, Service
from patchgrid.api.client.http.upload import Passed
from patchgrid.storage.access.submitting import Order


def send(service: Service, order: Order, passed: Passed = lambda _gone, _all: None) -> Document:
    """Send what is submitted; once it is stored, the same again finds the job.

    What the server would refuse for its size, or for the token, is refused before anything is sent.
    """
    file = order.file
    service.may_submit(file.path.stat().st_size, order.summary.count)
    also: dict[str, Any] = {
        "name": order.name,
        "key": order.own_key,
        "priority": order.priority,
        "chunk_size": order.chunk_size,
    }
    read = {"limit": file.limit, "columns": file.columns or None}
    known = {name: value for name, value in (also | read).items() if value is not None}
    return service.submit(
        file.path,
        order.spec.as_dict() | known,
        name=Path(file.name).name,
        # One submit, however often it is sent; the same command run again is another.
        key=f"patchgrid-{uuid.uuid4().hex}",
        passed=passed,
    )
