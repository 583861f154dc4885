"""The numbers behind the pictures: a site's heatmap, and its scores against its exact effects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from patchgrid.storage.jobs import JobRecord


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Mean scores or estimated effects of a site, layer by head or layer by aligned position."""

    #: One of `names.SITES`.
    site: str
    #: `estimate` where every cell has one, else `mean`.
    measure: str
    #: float64 `[layer, column]`, metric units; NaN where no pair has the component.
    values: NDArray[np.float64]
    #: What the columns are: heads from 0, positions from the end (-1 last) or span names; one empty label for
    #: a site without heads.
    columns: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Cells:
    """A site's exactly patched cells; arrays of equal length, in order of pair."""

    #: Attribution scores, metric units.
    score: NDArray[np.float64]
    #: Exact effects, metric units.
    effect: NDArray[np.float64]
    #: Probabilities of having been drawn.
    inclusion: NDArray[np.float64]


def heatmap(session: Session, job: JobRecord, site: str, kind: str) -> Heatmap:
    """Give a site's heatmap: kind `whole` is layer by head, `aligned` layer by position, summed over heads."""
    raise NotImplementedError


def cells(session: Session, job: JobRecord, site: str) -> Cells:
    """Give a site's exactly patched cells."""
    raise NotImplementedError
