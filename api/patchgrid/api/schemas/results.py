"""What was found over all of a job's pairs."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from patchgrid.api.schemas.jobs import Rounding, Task
from patchgrid.api.schemas.paging import Page
from patchgrid.api.schemas.request_models import Kind
from patchgrid.storage.results.advice import Advice
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost


class Component(BaseModel):
    """One component over all of a job's pairs, in units of the job's metric."""

    component: str = Field(description="Name: `a9.h6`, `m5@-1`, `a5.h5->a7.h9<v>`")
    site: str
    layer: int = Field(description="Layer, from 0; of an edge, its sender's")
    head: int | None = Field(description="Head within the layer; of an edge, its sender's")
    unit: int | None = Field(description="Neuron within the layer")
    position: int | str | None = Field(
        description="Position counted from the end (-1 is the last token), or a span's name; null: all "
        "positions"
    )
    n: int = Field(description="Pairs that have the component")
    mean: float | None = Field(description="Mean score")
    mean_abs: float | None = Field(description="Mean |score|")
    std: float | None = Field(description="Standard deviation of the score over pairs")
    estimate: float | None = Field(
        description="Estimated mean effect; null where no cell was patched exactly"
    )
    ci_low: float | None = Field(
        description="Lower end of the 95 % interval: of the kind that the request's `interval` names, by "
        "default for the population that the pairs are a sample of"
    )
    ci_high: float | None = Field(description="Upper end of that interval")
    exact_n: int = Field(description="Cells patched exactly")
    pairs_low: float | None = Field(description="Lower end of the 95 % interval for this job's pairs alone")
    pairs_high: float | None = Field(description="Upper end of that interval")
    heavy: bool = Field(description="Few cells carry the variance: the interval may be too short")
    shrunk: bool = Field(
        description="The estimate is from fewer than three cells, is shrunk toward the mean score, and has "
        "no interval"
    )
    edge: str | None = Field(description="An edge's name; null for other components")
    exact_share: float | None = Field(description="Share of its cells that were patched exactly")


class Coverage(BaseModel):
    """How many cells were patched exactly: a cell is a component of a pair."""

    patched: int
    cells: int
    share: float | None


class ShownRounding(Rounding):
    """The rounding floor beside components."""

    line: str | None = Field(description="The floor in words, if it matters for these components")
    warning: str | None = Field(description="Set if their effects are near the floor")


class Components(Page):
    """A job's components."""

    job: int
    method: str
    interval: str = Field(description="What ci_low and ci_high are for: population, or pairs")
    simultaneous: bool = Field(description="Whether the intervals of all listed components hold at once")
    effect_above: float | None = Field(
        description="The size that all mean effects on a list of discoveries exceed"
    )
    fdr: float | None = Field(description="The false discovery rate of such a list")
    coverage: Coverage = Field(description="Of the job's sites, or of the requested one")
    total: int = Field(description="Total on all pages")
    task: Task | None
    rounding: ShownRounding | None
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
    estimated: list[list[bool]] = Field(description="Cells with an estimate; the others show a mean score")


@dataclass(frozen=True, kw_only=True)
class Agreement(SiteAgreement):
    """A site's scores by a method against its exact effects."""

    exact_share: float | None
    seconds: float | None
    exact_seconds: float | None


class Verification(BaseModel):
    """How scores and exact effects agree, what both cost, and what follows for each site."""

    job: int
    task: Task | None
    rounding: Rounding | None
    items: list[Agreement]
    cost: Cost
    advice: list[Advice]


class ExactCell(BaseModel):
    """A cell that was patched exactly; its component's position is from the end, its `position` from 0."""

    pair: int | str
    component: str
    site: str
    layer: int
    head: int | None
    unit: int | None
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


class GroupMean(BaseModel):
    """A component's mean effect over the pairs of one group."""

    group: str
    n: int = Field(description="Pairs of the group that have the component")
    mean: float | None
    ci_low: float | None
    ci_high: float | None = Field(description="95 % interval for all pairs of this kind")


class GroupedComponent(BaseModel):
    """A component's mean effects by group of pairs."""

    component: str
    site: str
    estimate: float | None = Field(description="Mean effect over all of the job's pairs")
    ci_low: float | None
    ci_high: float | None = Field(description="95 % interval for the population of groups")
    spread: float | None = Field(description="Standard deviation of the groups' true means")
    p: float | None = Field(description="Chance of such differences between groups that are alike")
    differs: bool = Field(description="Of the components that are said to differ 5 % do not, on average")
    groups: list[GroupMean]


class Grouped(BaseModel):
    """Components by group of pairs, those of largest spread first."""

    job: int
    groups: int
    compared: int
    differing: int = Field(description="Of the compared components, those whose groups differ")
    items: list[GroupedComponent]


class UnpatchedComponent(BaseModel):
    """A component that was patched alone in fewer than three pairs."""

    component: str
    layer: int
    head: int | None
    unit: int | None
    mean: float = Field(description="Mean score")
    estimate: float = Field(description="Mean effect, estimated from the subsets that it was in")
    ci_low: float
    ci_high: float = Field(description="Intervals of all components hold together")
    bound: float = Field(description="What its |mean effect| is below")
    stands_out: bool = Field(description="Its effect is not what its score says")


class MissedBound(BaseModel):
    """A bound on the effects of a site's components that were patched alone in fewer than three pairs."""

    site: str
    components: int = Field(description="How many there are")
    bound: float = Field(
        description="No component except those that stand out has a |mean effect| above this"
    )
    confidence: float
    pairs: int
    subsets: int = Field(description="Random subsets that were patched in each pair")
    blocks: int = Field(description="Number of subsets that a round deals the components into")
    largest: list[UnpatchedComponent] = Field(description="Those that stand out, and others of largest bound")


class MissedBounds(BaseModel):
    """Bounds by site; none where no subsets were patched."""

    job: int
    items: list[MissedBound]
