"""A job's answer: its components with their means, estimates and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.engine.types import short_name
from patchgrid.estimates.sums import Sums
from patchgrid.storage.jobs import JobRecord


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
    raise NotImplementedError


def components(
    session: Session,
    job: JobRecord,
    *,
    sites: Sequence[str] | None = None,
    kind: str | None = None,
    population: bool = False,
) -> list[ComponentRow]:
    """Give every component the job measures: by site, layer, head and position (from the start of the prompt
    on).

    `kind` None is the job's own: `whole`, or `aligned` when positions are kept. `population` widens the
    intervals to speak of the pairs' source and not of this job's pairs alone.
    """
    raise NotImplementedError


def top(session: Session, job: JobRecord, k: int = 20, by: str = "estimate") -> list[ComponentRow]:
    """Give the k components of largest |estimate| (`by="estimate"`; |mean| where nothing was sampled), |mean|
    (`mean`) or mean |score| (`mean_abs`)."""
    raise NotImplementedError
