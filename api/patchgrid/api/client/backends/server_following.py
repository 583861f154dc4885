"""A job's snapshots from a server: events say what changed, the job itself who works on it."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from patchgrid.api.client.backends import documents
from patchgrid.api.client.http.errors import ServerError
from patchgrid.api.client.http.service import Service
from patchgrid.core.states import WorkerState
from patchgrid.storage.output.documents import snapshot_json
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.rounds.requests import RefinementRecord

#: Seconds between requests of the whole job.
LOOK_EVERY = 2.0


class Following:
    """Follows one job."""

    def __init__(self, service: Service, job_id: int) -> None:
        self._service, self._job_id = service, job_id
        self._whole: Snapshot | None = None
        self._looked = 0.0

    def snapshots(self, *, every: float = 1.0) -> Iterator[Snapshot]:
        """Yield how the job stands, at each change and at regular intervals, last when it has ended."""
        before: Any = None
        now = self._look()
        latest = snapshot_json(now) | {"serving": now.serving}
        for document in self._service.follow(self._job_id, every=every, latest=latest):
            # What has not changed is given again for the clock's sake; nobody need look for that.
            yield self._snapshot(document, changed=document != before)
            before = document
        if self._whole is not None and not self._whole.ended:
            # The stream ended before a state that is an end was told.
            yield self._look()

    def _snapshot(self, document: dict[str, Any], *, changed: bool) -> Snapshot:
        progress, state = documents.progress(document), document.get("state")
        names = list(document.get("workers", ()))
        whole = self._whole
        if whole is None or (changed and state != whole.job.state) or self._is_due(names, changed=changed):
            whole = self._look_if_possible(whole)
        rounds, refinement = document.get("rounds", 0), document.get("refinement")
        job = dataclasses.replace(whole.job, state=document["state"], rounds=rounds)
        workers = {each.name: each for each in whole.at_work}
        at_work = tuple(workers.get(name) or _only_named(name, job.id) for name in names)
        return dataclasses.replace(
            whole,
            job=job,
            progress=progress,
            at_work=at_work,
            serving=document.get("serving", whole.serving),
            refinement=None if refinement is None else documents.read(RefinementRecord, refinement),
        )

    def _is_due(self, names: list[str], *, changed: bool) -> bool:
        """Return whether to read the whole job: it changed, or has an unknown worker."""
        known = () if self._whole is None else [each.name for each in self._whole.at_work]
        anything = changed or any(name not in known for name in names)
        return anything and time.monotonic() - self._looked >= LOOK_EVERY

    def _look_if_possible(self, latest: Snapshot | None) -> Snapshot:
        try:
            return self._look()
        except ServerError:
            if latest is None:
                raise
            return latest

    def _look(self) -> Snapshot:
        self._whole = documents.snapshot(self._service.job(self._job_id))
        self._looked = time.monotonic()
        return self._whole


def _only_named(name: str, job_id: int) -> WorkerRecord:
    """Return a worker of which nothing but its name is known yet."""
    counts: dict[str, Any] = dict.fromkeys(("chunks", "pairs", "lease_losses", "takeovers"), 0)
    counts |= dict.fromkeys(("memory_used", "memory_total", "pairs_per_second", "chunk_id", "message"))
    host, _, pid = name.partition("/")
    number = pid.partition("/")[0]
    return WorkerRecord(
        id=0,
        name=name,
        host=host,
        pid=int(number) if number.isdigit() else 0,
        device="",
        models=(),
        state=WorkerState.WORKING,
        loaded=(),
        job_id=job_id,
        started_at=0.0,
        seen_at=0.0,
        drain=False,
        failures={},
        seen_ago=0.0,
        lost=False,
        **counts,
    )
