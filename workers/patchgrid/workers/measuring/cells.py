"""The cells of a chunk that are patched exactly: drawn, named for the engine, written down and summed.

A cell is a pair and a component. Cells are entries of one array, so that many are handled at once.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.graph import Graph
from patchgrid.core.sites import EDGE, WIDE_SITES
from patchgrid.core.types import Component, Pair
from patchgrid.estimates import Sums
from patchgrid.storage.chunks.alignment import Alignment, Columns
from patchgrid.storage.chunks.chunk_result import ExactCell
from patchgrid.storage.chunks.naming import has_inner, place_of
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.workers.measuring.components import Scores, Stack

Cells = NDArray[np.void]
#: A cell: the place of its pair in the chunk, the number of its site in the job's list, the component's index
#: along each axis that the site's scores have (0 along the others; an edge's number stands for a layer), its
#: score by the job's first method, its effect (0 until it is known) and its inclusion probability.
CELL = np.dtype(
    [
        *((name, np.int64) for name in ("pair", "site", "layer", "column", "inner")),
        *((name, np.float64) for name in ("score", "effect", "inclusion")),
    ]
)
NO_CELLS: Cells = np.empty(0, CELL)


#: From a site, row numbers of pairs, their scores and which of these they have, to the mask of the cells to
#: patch and their inclusion probabilities.
Draw = Callable[
    [str, Sequence[int], NDArray[Any], NDArray[np.bool_] | None],
    tuple[NDArray[np.bool_], NDArray[np.float64]],
]


class Sampler:
    """Draws the cells of pairs, known by their places; `rows` are the row numbers of all of them."""

    def __init__(self, job: JobRecord, rows: Sequence[int], draw: Draw) -> None:
        self._job, self._rows, self._choose = job, rows, draw

    def draw(self, places: Sequence[int], scores: Scores) -> Cells:
        """Draw the cells of the pairs at these places; return them by pair, site and component."""
        sites = enumerate(self._job.spec.query.sites)
        stacks = (
            (number, *each) for number, site in sites for each in scores.stacks(self._job.kind, site, places)
        )
        return by_pair([self._draw(*each) for each in stacks])

    def _draw(self, number: int, places: Sequence[int], scores: Stack) -> Cells:
        """Draw the cells at one site of pairs whose scores have one shape."""
        site = self._job.spec.query.sites[number]
        rows_of_pairs = [self._rows[place] for place in places]
        drawn, inclusion = self._choose(site, rows_of_pairs, scores.values, scores.present)
        rows, *index = np.nonzero(drawn)
        cells = np.zeros(len(rows), CELL)
        cells["pair"], cells["site"] = np.asarray(places)[rows], number
        for axis, along in zip(cell_axes(self._job.kind, site), index, strict=True):
            cells[axis] = along
        cells["score"], cells["inclusion"] = scores.values[drawn], inclusion[drawn]
        return cells


def by_pair(parts: Sequence[Cells]) -> Cells:
    """Put cells together by pair; a pair's own stay in the order in which they come."""
    cells = np.concatenate(parts or [NO_CELLS])
    return cells[np.argsort(cells["pair"], kind="stable")]


def components(
    job: JobRecord,
    cells: Cells,
    places: Sequence[int],
    columns: Mapping[int, Columns],
    graph: Graph | None,
) -> dict[int, list[Component]]:
    """Name cells for the engine, by the places of their pairs; `columns` are those of the pair at each."""
    sites = job.spec.query.sites
    named: dict[int, list[Component]] = {place: [] for place in places}
    for place, site, layer, column, inner, *_ in cells.tolist():
        named[place].append(
            _component(
                sites[site],
                layer,
                inner if has_inner(sites[site]) else None,
                columns[place][column] if job.kind == "aligned" else None,
                graph,
            )
        )
    return named


def exact_cells(
    job: JobRecord, first: int, cells: Cells, scores: Scores, graph: Graph | None
) -> list[ExactCell]:
    """Write cells down; `first` is the row number in the job of the chunk's first pair."""
    alignment, written = Alignment(job.spans), []
    further = [scores_by(job, cells, scores, method).tolist() for method in job.spec.query.method_names[1:]]
    others = list(zip(*further, strict=True)) if further else [()] * len(cells)
    for (place, site, layer, column, inner, score, effect, inclusion), more in zip(
        cells.tolist(), others, strict=True
    ):
        name = job.spec.query.sites[site]
        at = place_of(name, layer, inner, graph)
        span = alignment.label(column) if job.kind == "aligned" else None
        counted = job.kind == "aligned" and span is None
        written.append(
            ExactCell(
                row=first + place,
                site=name,
                layer=at.layer,
                index=at.index,
                position=scores.columns[place][column][0] if counted else None,
                span=span,
                score=score,
                effect=effect,
                inclusion=inclusion,
                edge=at.edge,
                others=more,
            )
        )
    return written


def clusters_of(pairs: Sequence[Pair], job: JobRecord, site: str) -> NDArray[np.int64] | None:
    """Return the numbers of the pairs' groups; None where a site's sums are not by group."""
    if job.groups is None or site in WIDE_SITES:
        return None
    return np.array([pair.cluster for pair in pairs], np.int64)


def earlier_methods(job: JobRecord, method: str | None) -> Sequence[str]:
    """Return the job's methods before a further one; none before the first (None)."""
    methods = job.spec.query.method_names
    return () if method is None else methods[: methods.index(method)]


def scores_by(job: JobRecord, cells: Cells, scores: Scores, method: str) -> NDArray[np.float64]:
    """Return the cells' scores by one of the job's further methods."""
    of_cells = np.zeros(len(cells))
    for number, site in enumerate(job.spec.query.sites):
        own = np.flatnonzero(cells["site"] == number)
        pairs = np.unique(cells["pair"][own]).tolist()
        for places, stack in scores.stacks(job.kind, site, pairs, method):
            here = own[np.isin(cells["pair"][own], places)]
            rows = np.argsort(places)[np.searchsorted(np.sort(places), cells["pair"][here])]
            index = (cells[axis][here] for axis in cell_axes(job.kind, site))
            of_cells[here] = stack.values[(rows, *index)]
    return of_cells


def add_cells(
    sums: Sums,
    job: JobRecord,
    number: int,
    cells: Cells,
    total_effects: NDArray[Any],
    lines: NDArray[np.float64] | None = None,
    clusters: NDArray[np.int64] | None = None,
    others: NDArray[np.float64] | None = None,
) -> None:
    """Add the cells of the site of this number to its sums.

    `total_effects`, and `clusters` (the pairs' groups) where sums are by group, go by place in the chunk;
    `others` `[method, cell]` are all cells' scores by earlier methods, for sums of a further one.
    """
    own = cells[cells["site"] == number]
    index = tuple(own[axis] for axis in cell_axes(job.kind, job.spec.query.sites[number]))
    sums.add_cells(
        index,
        own["score"],
        own["effect"],
        own["inclusion"],
        total_effects[own["pair"]],
        lines,
        None if clusters is None else clusters[own["pair"]],
        None if others is None else others[:, cells["site"] == number],
    )


def cell_axes(kind: str, site: str) -> tuple[str, ...]:
    """Name the axes of a site's scores, for components of this kind."""
    return ("layer", *["column"] * (kind == "aligned"), *["inner"] * has_inner(site))


# Making a component checks it; most are drawn in many pairs.
@lru_cache(maxsize=1 << 16)
def _component(
    site: str, layer: int, inner: int | None, positions: tuple[int, ...] | None, graph: Graph | None
) -> Component:
    position = positions[0] if positions is not None and len(positions) == 1 else positions
    if site == EDGE and graph is not None:
        return graph.component(layer, position)
    at = place_of(site, layer, inner)
    return Component(site, at.layer, at.index, position)
