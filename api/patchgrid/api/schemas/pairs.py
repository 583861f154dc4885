"""Pairs and what is kept of each."""

from typing import Any

from pydantic import BaseModel, Field

from patchgrid.api.schemas.paging import Page
from patchgrid.core.states import PairState

_PREFERENCE = "logsumexp of the correct answers' logits less that of the incorrect ones'"


class PairLine(BaseModel):
    """A pair and its state."""

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
    """A job's pairs, in order. A page of a search may be empty and still have a `next`."""

    job: int
    items: list[PairLine]


class TopComponent(BaseModel):
    """One of a pair's strongest components."""

    component: str
    site: str
    layer: int
    head: int | None
    unit: int | None
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
    correct_tokens: list[str] = Field(description="The answers' tokens as text; empty: not measured")
    incorrect_tokens: list[str]
    spans: dict[str, list[int]]
    group: str | None
    tokens: list[str]
    corrupted_tokens: list[str]
    method: str
    metric: str
    clean_metric: float | None
    corrupted_metric: float | None
    prefix: int | None = Field(description="Tokens added before the prompts, such as a BOS")
    clean_preference: float | None = Field(description=_PREFERENCE)
    corrupted_preference: float | None
    top: list[TopComponent]
    scores: dict[str, list[Any]]
    exact: list[dict[str, Any]]
