"""A job's numbers through a server, as the dataclasses that storage gives."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from patchgrid.api.client import reading
from patchgrid.api.client.http.errors import NotThere
from patchgrid.api.client.http.service import Document, Service
from patchgrid.core.names import check_name
from patchgrid.core.sites import INDEX_FIELDS, index_of_fields, short_name
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.pair_results.pair_view import PairView
from patchgrid.storage.results.components import ORDERS, ComponentRow
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.plots import Cells, Heatmap, named_once, strongest_cells
from patchgrid.storage.results.verification import Cost, SiteAgreement


class RemoteNumbers:
    """Asks a server what `storage` would be asked."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def job(self, name: int | str) -> JobRecord:
        """Give a job by its id, its name, or `last`."""
        return reading.job(self._service.job(name))

    def task(self, job: JobRecord) -> reading.Document | None:
        """Give whether the model does the task."""
        return reading.task(self._service.job(job.id))

    def rounding(self, job: JobRecord) -> reading.Document | None:
        """Give how much of an effect may be rounding."""
        return reading.rounding(self._service.job(job.id))

    def progress(self, job: JobRecord) -> Progress:
        """Give how far a job is."""
        return reading.progress(self._service.job(job.id))

    def top(
        self,
        job: JobRecord,
        k: int = 20,
        by: str = "estimate",
        *,
        site: str | None = None,
        population: bool = False,
        method: str | None = None,
    ) -> Sequence[ComponentRow]:
        """Give the k strongest components, the strongest first."""
        check_name("order", by, ORDERS)
        _check(job, site, method)
        found = self._service.components(
            job.id, most=k, by=by, site=site, population=population, method=method
        )
        return [reading.component(each) for each in islice(found, k)]

    def furthest(
        self, job: JobRecord, site: str, method: str | None = None, *, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Give a site's cells whose scores are furthest from their effects, one a component."""
        _check(job, site, method)
        return self._service.furthest(job.id, site=site, method=method, limit=limit)

    def coverage(self, job: JobRecord, site: str | None = None) -> Coverage:
        """Give how many cells were patched exactly, of how many."""
        _check(job, site, None)
        return reading.coverage(self._service.coverage(job.id, site))

    def verification(self, job: JobRecord, top_k: int = 10) -> tuple[Sequence[SiteAgreement], Cost]:
        """Give how scores agree with exact patching, and what both cost."""
        found = self._service.verification(job.id, top_k=top_k)
        with reading.understood("verification"):
            rows = [reading.agreement(each) for each in found["items"]]
            return rows, reading.cost(found["cost"])

    def heatmap(self, job: JobRecord, site: str, kind: str, method: str | None = None) -> Heatmap:
        """Give a site's heatmap: kind `whole` or `aligned`."""
        _check(job, site, method)
        return reading.heatmap(self._service.heatmap(job.id, site=site, kind=kind, method=method))

    def cells(self, job: JobRecord, site: str, method: str | None = None, *, limit: int) -> Cells:
        """Give the first exactly patched cells of a site, in order of pair."""
        _check(job, site, method)
        found = islice(self._service.exact(job.id, most=limit, site=site, method=method), limit)
        with reading.understood("cell"):
            rows = list(found)
            parts = [(each["score"], each["effect"], each["inclusion"]) for each in rows]
        columns = np.array(parts, np.float64).reshape(-1, 3)
        score, effect, inclusion = np.ascontiguousarray(columns.T)
        names = {index: _component(rows[index]) for index in strongest_cells(effect)}
        return Cells(score, effect, inclusion, named_once(names))

    def pair(self, job: JobRecord, name: int | str, method: str | None = None) -> PairView:
        """Give one pair by its id, else by its row number."""
        _check(job, None, method)
        row = self._service.row_of(job.id, name)
        if row is None:
            raise NotThere(
                f"job {job.id} has no pair {str(name)!r}: give an id from its file, or a row from 0 to "
                f"{job.pairs - 1}"
            )
        numbering = reading.graph(self._service.job(job.id)) if "edge" in job.spec.sites else None
        return reading.pair_view(self._service.pair(job.id, row, method), job, numbering)


def _component(cell: Document) -> str:
    """Name a cell's component, at all positions at once unless these are spans."""
    with reading.understood("cell"):
        span = cell["position"] if isinstance(cell["position"], str) else None
        index = index_of_fields(cell[field] for field in INDEX_FIELDS)
        return short_name(cell["site"], cell["layer"], index, span, cell["edge"])


def _check(job: JobRecord, site: str | None, method: str | None) -> None:
    """Refuse what the job does not have in storage's own words, without asking."""
    if site is not None:
        check_name("site of this job", site, job.spec.sites)
    job.method(method)
