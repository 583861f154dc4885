"""From a place in a site's scores to the component that stands there."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchgrid.engine.edges import Graph
from patchgrid.engine.names import EDGE, INNER


class Place(NamedTuple):
    """Which component of a site it is, as tables and exports have it."""

    #: Layer, from 0; of an edge, the layer of what it comes from.
    layer: int
    #: Head within the layer, or None.
    head: int | None = None
    #: Neuron within the layer, or None.
    neuron: int | None = None
    #: An edge's name, or None.
    edge: str | None = None


def has_inner(site: str) -> bool:
    """Tell whether a site's scores have an axis of heads or neurons, the last one."""
    return site in INNER


def has_positions(array: NDArray[Any], site: str) -> bool:
    """Tell whether a pair's scores at a site have a position axis."""
    return array.ndim == 2 + has_inner(site)


def sum_positions(array: NDArray[np.float32], site: str) -> NDArray[np.float32]:
    """Sum a pair's scores over positions, if they have them, to `[layer(, inner)]`."""
    return array.sum(axis=1) if has_positions(array, site) else array


# Naming an edge takes time, and most are named in many pairs.
@lru_cache(maxsize=1 << 16)
def place_of(site: str, first: int, inner: int | None = None, graph: Graph | None = None) -> Place:
    """Name the component at an index of a site's first axis (layer or edge) and of its inner axis, if any.

    `graph` is that of the job's model; edges need it.
    """
    if site == EDGE:
        assert graph is not None, "edges are numbered by their model's graph"
        component = graph.component(first)
        return Place(component.layer, component.head, None, component.edge)
    kind = INNER.get(site)
    return Place(first, inner if kind == "head" else None, inner if kind == "neuron" else None)


def indexed(site: str, place: Sequence[int], graph: Graph | None = None) -> Place:
    """Name the component at `[layer(, inner)]` or `[edge]`."""
    first, *inner = place
    return place_of(site, first, inner[0] if inner else None, graph)
