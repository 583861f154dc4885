"""Jobs, listed and in full, and what those who steer them are answered."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from patchgrid.api.schemas.paging import Page
from patchgrid.core.states import JobState
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.chunk_notes import Troubles
from patchgrid.storage.queue.workers import LoadFailure, WorkerRecord


class PairCounts(BaseModel):
    """A job's pairs by outcome."""

    total: int
    done: int
    failed: int
    skipped: int = Field(description="Skipped because the model gets them wrong (only_correct)")


class ChunkCounts(BaseModel):
    """A job's chunks by state."""

    done: int
    leased: int
    pending: int
    held: int
    failed: int
    cancelled: int


class Job(BaseModel):
    """A job's current state. Times are seconds since 1970."""

    job: int
    name: str | None
    state: JobState
    key: str
    spec: dict[str, Any]
    methods: list[str]
    spans: list[str]
    pairs: PairCounts
    chunks: ChunkCounts
    chunk_size: int
    priority: int
    bytes: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    error: str | None
    rounds: int = Field(description="Rounds of exact patching after the scores, the running one included")
    groups: int | None = Field(description="Groups that the pairs are of; null: each pair is its own")
    submitted_by: str | None
    owners: list[str]


class Submitted(Job):
    """A job that was submitted, now or before."""

    created: bool
    reopened: bool
    notes: list[str]


class Cancelled(Job):
    """A job that its caller cancelled, or withdrew from."""

    remaining_owners: list[str]


class Withdrawn(BaseModel):
    """A job that its caller withdrew from."""

    job: int
    remaining_owners: list[str]


class Retried(Job):
    """A job that is retried."""

    chunks_retried: int


class Warned(BaseModel):
    """A kind of warning."""

    warning: str
    pairs: int


class Task(BaseModel):
    """Whether the model does the task: what its unpatched runs do, over measured and skipped pairs."""

    metric: str
    pairs: int = Field(description="Pairs with measured unpatched runs")
    measured: int = Field(description="Pairs in the mean metrics")
    clean_metric: float | None
    corrupted_metric: float | None
    difference: float | None = Field(description="Mean clean - corrupted metric, the divisor of `normalise`")
    difference_error: float | None = Field(description="Its standard error")
    clean_correct: int = Field(description="Pairs whose clean run prefers the correct answer")
    clean_share: float | None
    corrupted_incorrect: int = Field(description="Pairs whose corrupted run prefers the incorrect answer")
    corrupted_share: float | None
    swapped: int = Field(description="Pairs whose clean and corrupted prompts are probably swapped")
    swapped_pairs: list[int | str]
    outside_vocabulary: int = Field(description="Pairs with a token id outside the model's vocabulary")
    outside_pairs: list[int | str]
    answers: list[str] = Field(
        description="The first pairs' answers as tokens, if they are ids or questionable"
    )
    line: str | None = Field(description="Summary in one line")
    warnings: list[str]


class Rounding(BaseModel):
    """How much of an effect may be rounding: effects of patches that are nothing but rounding."""

    floor: float = Field(description="Root mean square, in units of the metric, or with `normalise` a share")
    cells: int = Field(description="Number measured")


class Racer(BaseModel):
    """A component of a certificate; effects in units of the job's metric."""

    component: str
    state: Literal["in", "out", "tied", "undecided"]
    estimate: float | None = Field(description="Mean effect")
    low: float | None = Field(description="End of the confidence sequence of what is ranked")
    high: float | None
    cells: int = Field(description="Cells patched for the certificate")
    pairs: int
    mean_residual: float | None = Field(description="Mean of effect - score - fitted line over these cells")
    spread: float | None = Field(description="Its standard deviation, moderated over components")
    exact: bool = Field(description="Every pair is patched")


class Outcome(BaseModel):
    """What came of a refinement: of a certificate all of it, of others the round and its cells."""

    model_config = ConfigDict(extra="allow")

    error: str | None = Field(None, description="Why it was not begun")
    cancelled: bool | None = None
    round: int | None = None
    cells: int | None = Field(None, description="Cells patched; of a certificate those of the job in all")
    k: int | None = None
    holds: bool | None = Field(None, description="Nothing is left undecided")
    counts: dict[str, int] | None = Field(None, description="Components by state")
    above: float | None = Field(None, description="No component except those in state `in` is above this")
    cells_in_all: int | None = None
    uniform_cells: int | None = Field(None, description="Cells that uniform sampling would have taken, about")
    assumes: str | None = None
    components: list[Racer] | None = Field(
        None, description="Those certainly in, tied or undecided, and the largest of the others"
    )


class RefinementOf(BaseModel):
    """A refinement of a job, and what came of it so far. Times are seconds since 1970."""

    number: int
    kind: Literal["exact", "top", "components", "certify"]
    state: Literal["pending", "running", "done", "cancelled", "failed"]
    request: dict[str, Any]
    result: Outcome | None
    created_at: float
    finished_at: float | None


class Refinements(BaseModel):
    """A job's refinements in order."""

    job: int
    items: list[RefinementOf]


class JobInFull(Job):
    """All that is known of a job but its results."""

    task: Task | None
    rounding: Rounding | None

    provenance: list[Provenance]
    warnings: list[Warned]
    troubles: Troubles
    workers: list[WorkerRecord]
    serving: int
    load_failures: list[LoadFailure]
    refinement: RefinementOf | None = Field(
        description="The refinement whose round runs or will run next, else the last one; a certificate "
        "without its components"
    )


class Jobs(Page):
    """Jobs, the newest first."""

    items: list[Job]
