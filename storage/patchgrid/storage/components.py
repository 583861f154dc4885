"""A job's answer: its components with their means, estimates and intervals."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.engine.names import HEAD_SITES, REST, check_name
from patchgrid.engine.types import short_name
from patchgrid.estimates import Estimates, Sums, estimate
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.sums import add_up, read_sums
from patchgrid.storage.tables import total


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """One component over all of a job's pairs; metric units. The fields are those of an export, in order."""

    #: One of `names.SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Head within the layer, or None.
    head: int | None
    #: Neuron within the layer, or None.
    neuron: int | None
    #: None: all positions at once; below 0: counted from the end; text: a span's name.
    position: int | str | None
    #: Pairs that have the component.
    n: int
    #: Mean score; None without pairs.
    mean: float | None
    #: Mean |score|.
    mean_abs: float | None
    #: Sample standard deviation of the score; None with fewer than two pairs.
    std: float | None
    #: Estimated mean effect; None where no cell was patched exactly.
    estimate: float | None
    #: Lower end of the 95 % interval.
    ci_low: float | None
    #: Upper end of the 95 % interval.
    ci_high: float | None
    #: Cells patched exactly.
    exact_n: int

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`, `m5@-1`."""
        return short_name(self.site, self.layer, self.head, self.position)


def job_sums(session: Session, job_id: int, site: str, kind: str) -> Sums | None:
    """Add up the sums that the job's chunks have committed so far, or None if there are none."""
    stored = select(total.c.data).where(total.c.job_id == job_id, total.c.site == site, total.c.kind == kind)
    data = session.scalar(stored)
    if data is not None:
        return read_sums(data, f"the stored sums of job {job_id}, {site}")
    return add_up(session, job_id, site, kind)


def components(
    session: Session,
    job: JobRecord,
    *,
    sites: Sequence[str] | None = None,
    kind: str | None = None,
    population: bool = False,
) -> list[ComponentRow]:
    """Give every component that the job measures, by site, layer, head and position (the last one last).

    `kind` None is the job's own: `whole`, or `aligned` when positions are kept. `population` widens the
    intervals to speak of the pairs' source and not of this job's pairs alone.
    """
    rows: list[ComponentRow] = []
    for site in job.spec.sites if sites is None else sites:
        check_name("site of this job", site, job.spec.sites)
        sums = job_sums(session, job.id, site, kind or job.kind)
        if sums is not None:
            rows += _rows(site, job.spans, sums, estimate(sums, population=population))
    return rows


def top(session: Session, job: JobRecord, k: int = 20, by: str = "estimate") -> list[ComponentRow]:
    """Give the k components of largest |estimate|, |mean score| or mean |score|, the largest first.

    `by` is `estimate` (|mean| stands in where nothing was sampled), `mean` or `mean_abs`.
    """
    check_name("order", by, ("estimate", "mean", "mean_abs"))

    def size(row: ComponentRow) -> float:
        value = getattr(row, by)
        return abs(row.mean or 0.0) if value is None else abs(value)

    return sorted(components(session, job), key=size, reverse=True)[:k]


def aligned_labels(spans: Sequence[str], count: int) -> list[int | str]:
    """Name the entries of an aligned axis: -1, -2, ...; or the spans and, for positions in none, the rest."""
    if not spans:
        return [-1 - index for index in range(count)]
    named: list[int | str] = [*spans, REST]
    return named[:count]


def _rows(site: str, spans: Sequence[str], sums: Sums, estimates: Estimates) -> list[ComponentRow]:
    labels = aligned_labels(spans, sums.axes[1]) if sums.aligned else [None]
    # From the end, index 0 is the last position: turned round, rows run in the order of the prompt.
    order = range(len(labels)) if spans else range(len(labels) - 1, -1, -1)
    heads = range(sums.axes[-1]) if site in HEAD_SITES else [None]
    rows = []
    for layer, head, position in itertools.product(range(sums.axes[0]), heads, order):
        index = tuple(i for i in (layer, position if sums.aligned else None, head) if i is not None)
        if estimates.n[index] > 0:
            rows.append(_row(site, layer, head, labels[position], estimates, index))
    return rows


def _row(
    site: str,
    layer: int,
    head: int | None,
    position: int | str | None,
    estimates: Estimates,
    index: tuple[int, ...],
) -> ComponentRow:
    return ComponentRow(
        site=site,
        layer=layer,
        head=head,
        neuron=None,
        position=position,
        n=int(estimates.n[index]),
        mean=_number(estimates.mean[index]),
        mean_abs=_number(estimates.mean_abs[index]),
        std=_number(estimates.std[index]),
        estimate=_number(estimates.estimate[index]),
        ci_low=_number(estimates.ci_low[index]),
        ci_high=_number(estimates.ci_high[index]),
        exact_n=int(estimates.exact_n[index]),
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
