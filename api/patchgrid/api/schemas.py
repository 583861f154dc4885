"""The documents of answers, as OpenAPI describes them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from patchgrid.api.asked import Kind, PairState, State

_PREFERENCE = "logsumexp of the correct answers' logits less that of the incorrect ones'"


class PairCounts(BaseModel):
    """A job's pairs by what became of them."""

    total: int
    done: int
    failed: int
    skipped: int = Field(description="Left out because the model does not get them right (only_correct)")


class ChunkCounts(BaseModel):
    """A job's chunks by state."""

    done: int
    leased: int
    pending: int
    held: int
    failed: int
    cancelled: int


class Job(BaseModel):
    """A job as it stands. Times are seconds since 1970."""

    job: int
    name: str | None
    state: State
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
    submitted_by: str | None
    owners: list[str]


class Submitted(Job):
    """A job that was submitted, now or before."""

    created: bool
    reopened: bool
    notes: list[str]


class Cancelled(Job):
    """A job that its caller cancelled, or withdrew from."""

    goes_on_for: list[str]


class Withdrawn(BaseModel):
    """A job that its caller withdrew from."""

    job: int
    goes_on_for: list[str]


class Retried(Job):
    """A job that is tried again."""

    chunks_again: int


class Worker(BaseModel):
    """A worker, as it last told of itself."""

    id: int
    name: str
    host: str
    pid: int
    device: str
    models: list[str]
    state: str
    message: str | None
    loaded: list[str]
    job_id: int | None
    chunk_id: int | None
    memory_used: int | None
    memory_total: int | None
    started_at: float
    seen_at: float
    drain: bool
    chunks: int
    pairs: int
    pairs_per_second: float | None
    lease_losses: int
    takeovers: int
    failures: dict[str, int]
    seen_ago: float
    lost: bool


class Warned(BaseModel):
    """A kind of warning."""

    warning: str
    pairs: int


class LoadFailure(BaseModel):
    """A model that a worker cannot load."""

    worker: str
    model: str
    error: str
    failed_at: float
    attempts: int


class Troubles(BaseModel):
    """How often chunks had to be begun again."""

    tried_again: int
    split_off: int


class Task(BaseModel):
    """Whether the model does the task: what its unpatched runs do, over measured and skipped pairs."""

    metric: str
    pairs: int = Field(description="Pairs whose unpatched runs are known")
    measured: int = Field(description="Pairs that the mean metrics are over")
    clean_metric: float | None
    corrupted_metric: float | None
    difference: float | None = Field(description="Mean clean - corrupted metric, what `normalise` divides by")
    difference_error: float | None = Field(description="Its standard error")
    clean_correct: int = Field(description="Pairs whose clean run prefers the correct answer")
    clean_share: float | None
    corrupted_incorrect: int = Field(description="Pairs whose corrupted run prefers the incorrect answer")
    corrupted_share: float | None
    swapped: int = Field(description="Pairs whose clean and corrupted prompts seem to be swapped")
    swapped_pairs: list[int | str]
    outside_vocabulary: int = Field(description="Pairs with a token id that the model does not have")
    outside_pairs: list[int | str]
    answers: list[str] = Field(
        description="The first pairs' answers as tokens, where they are ids or doubtful"
    )
    line: str | None = Field(description="All of it in a line")
    warnings: list[str]


class Rounding(BaseModel):
    """How much of an effect may be rounding: effects of patches that are nothing but rounding."""

    floor: float = Field(description="Their root mean square, in units of the metric")
    cells: int = Field(description="How many were measured")


class JobInFull(Job):
    """All that is known of a job but its results."""

    task: Task | None
    rounding: Rounding | None

    provenance: list[dict[str, Any]]
    warnings: list[Warned]
    troubles: Troubles
    workers: list[Worker]
    serving: int
    load_failures: list[LoadFailure]


class Page(BaseModel):
    """A part of a list."""

    next: str | None = Field(description="Give it as `cursor` for what follows; null: there is no more")


class Jobs(Page):
    """Jobs, the newest first."""

    items: list[Job]


class Component(BaseModel):
    """One component over all of a job's pairs, in units of the job's metric."""

    component: str
    site: str
    layer: int
    head: int | None
    neuron: int | None
    position: int | str | None
    n: int
    mean: float | None
    mean_abs: float | None
    std: float | None
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    exact_n: int
    edge: str | None
    exact_share: float | None


class Coverage(BaseModel):
    """How many cells were patched exactly: a cell is a component of a pair."""

    patched: int
    cells: int
    share: float | None


class Components(Page):
    """A job's components."""

    job: int
    method: str
    coverage: Coverage = Field(description="Of the job's sites, or of the one asked for")
    total: int = Field(description="How many there are, on all pages")
    task: Task | None
    rounding: Rounding | None
    items: list[Component]


class Heatmap(BaseModel):
    """A site, layer by head or layer by position."""

    job: int
    site: str
    kind: Kind
    method: str
    measure: Literal["estimate", "mean", "mixed"]
    unit: str
    columns: list[int | str]
    values: list[list[float | None]]
    estimated: list[list[bool]] = Field(description="Which cells show an estimate; the others a mean score")


class Agreement(BaseModel):
    """A site's scores by a method against its exact effects."""

    site: str
    method: str
    n: int
    cells: int
    pearson: float | None
    spearman: float | None
    spearman_n: int
    slope: float | None
    intercept: float | None
    bias: float | None
    sign_agreement: float | None
    top_k: int
    top_overlap: float | None
    components: int
    exact_share: float | None
    seconds: float | None
    exact_seconds: float | None


class Cost(BaseModel):
    """What a job cost, in seconds per 1,000 pairs."""

    scores: dict[str, float | None]
    exact: float | None
    effects: int


class Verification(BaseModel):
    """How scores and exact effects agree, and what both cost."""

    job: int
    task: Task | None
    rounding: Rounding | None
    items: list[Agreement]
    cost: Cost


class PairLine(BaseModel):
    """A pair and what became of it."""

    pair: int | str
    row: int
    state: PairState
    error: str | None
    warning: str | None
    clean: str
    corrupted: str
    clean_metric: float | None
    corrupted_metric: float | None
    clean_preference: float | None = Field(description=_PREFERENCE)
    corrupted_preference: float | None


class Pairs(Page):
    """A job's pairs, in order. A search looks at so many a time: there may be none here, and a `next`."""

    job: int
    items: list[PairLine]


class TopComponent(BaseModel):
    """One of a pair's strongest components."""

    component: str
    site: str
    layer: int
    head: int | None
    neuron: int | None
    position: int | None
    score: float
    edge: str | None


class PairInFull(BaseModel):
    """All that is kept of one pair."""

    job: int
    pair: int | str
    row: int
    state: PairState
    error: str | None
    warning: str | None
    clean: str
    corrupted: str
    correct: list[Any]
    incorrect: list[Any]
    correct_tokens: list[str] = Field(description="The answers' tokens as text; none: not measured")
    incorrect_tokens: list[str]
    spans: dict[str, list[int]]
    tokens: list[str]
    corrupted_tokens: list[str]
    method: str
    metric: str
    clean_metric: float | None
    corrupted_metric: float | None
    prefix: int | None = Field(description="Tokens before the prompts' texts, such as a BOS")
    clean_preference: float | None = Field(description=_PREFERENCE)
    corrupted_preference: float | None
    top: list[TopComponent]
    scores: dict[str, list[Any]]
    exact: list[dict[str, Any]]


class ExactCell(BaseModel):
    """A cell that was patched exactly; its component's position is from the end, its `position` from 0."""

    pair: int | str
    component: str
    site: str
    layer: int
    head: int | None
    neuron: int | None
    position: int | str | None
    score: float
    effect: float
    inclusion: float
    edge: str | None


class FurthestCell(ExactCell):
    """The cell of a component whose score is furthest from its effect."""

    off: float = Field(description="|effect - score|, metric units")
    cells: int = Field(description="Cells of the component that were patched")


class FurthestCells(BaseModel):
    """Where a site's scores are furthest off, a cell a component."""

    job: int
    site: str
    method: str
    items: list[FurthestCell]


class ExactCells(Page):
    """Cells that were patched exactly, by pair. Of a site or component, none may be here, and a `next`."""

    job: int
    method: str
    items: list[ExactCell]


class Workers(BaseModel):
    """The workers of the last day."""

    items: list[Worker]


class ModelQueue(BaseModel):
    """The chunks of one model that are not through yet."""

    model: str
    pending: int
    leased: int
    held: int
    oldest_seconds: float | None


class Queue(BaseModel):
    """What waits, by model."""

    items: list[ModelQueue]


class Model(BaseModel):
    """A model that may be asked for."""

    model: str
    revision: str | None
    serving: int


class Models(BaseModel):
    """What may be asked for."""

    items: list[Model]


class Limits(BaseModel):
    """How much a client may send."""

    upload_bytes: int
    pairs: int
    open_jobs: int
    priority: int | None
    bytes: int | None
    requests_per_second: float


class Access(BaseModel):
    """What this client may do."""

    open: bool
    token: str | None
    scopes: list[str]
    version: str
    limits: Limits


class Health(BaseModel):
    """The server and its database answer."""

    status: Literal["ok"]
    database: Literal["sqlite", "postgresql"]
    version: str


class WrongPart(BaseModel):
    """What is wrong with a line or a field."""

    line: int | None = None
    row: int | None = None
    field: str | None = None
    detail: str


class ProblemDetails(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[WrongPart] | None = None
