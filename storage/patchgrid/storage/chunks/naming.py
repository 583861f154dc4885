"""From a place in a site's scores to the component that stands there, and from its name back to the place."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import ComponentError
from patchgrid.core.graph import Graph
from patchgrid.core.names import EDGE, INNER, SITES
from patchgrid.core.types import Component, short_name


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


class Named(NamedTuple):
    """What a component's short name says."""

    #: One of `names.SITES`.
    site: str
    place: Place
    #: What stands behind `@`, or None: all positions at once.
    position: str | None = None


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


def index_of(place: Place, graph: Graph | None = None) -> list[int]:
    """Give the index `[layer(, inner)]` or `[edge]` of a place; `ComponentError` for an edge not there."""
    if place.edge is not None:
        assert graph is not None, "edges are numbered by their model's graph"
        return [graph.number_of(place.edge)]
    return [number for number in place[:3] if number is not None]


def read_name(name: str) -> Named | None:
    """Read a short name, written exactly as `short_name` writes it; None if nothing is named so."""
    stem, at, behind = name.partition("@")
    if len(stem) > _LONGEST:
        return None
    position = behind if at else None
    if "->" in stem:
        return _read_edge(stem, position)
    match = _NAME.fullmatch(stem)
    site = None if match is None else _SITES.get((match["stem"], match["inner"]))
    if match is None or site is None:
        return None
    inner = None if match["index"] is None else int(match["index"])
    return Named(site, indexed(site, [int(match["layer"]), *([] if inner is None else [inner])]), position)


def site_names(
    site: str, axes: Sequence[int], labels: Sequence[int | str], graph: Graph | None = None
) -> list[str]:
    """Give the short names of all of a site's components, in the order of their sums.

    `axes` are those of the sums, `labels` name the aligned positions, if there are any.
    """
    positions = [f"@{label}" for label in labels] or [""]
    if site == EDGE:
        assert graph is not None, "edges are numbered by their model's graph"
        return [f"{edge}{position}" for edge in graph.names for position in positions]
    stem, letter = _STEMS[site]
    inner = [""] if letter is None else [f".{letter}{index}" for index in range(axes[-1])]
    layers = [f"{stem}{layer}" for layer in range(axes[0])]
    return [f"{layer}{each}{position}" for layer in layers for position in positions for each in inner]


def _read_edge(name: str, position: str | None) -> Named | None:
    try:
        component = Component.of_edge(name)
    except ComponentError:
        return None
    if max(component.layer, component.head or 0) > _LARGEST:
        return None
    return Named(EDGE, Place(component.layer, component.head, None, name), position)


#: Longest name of a component without its position, and the largest number in one: what the databases hold.
_LONGEST, _LARGEST = 100, 2**31 - 1
_NUMBER = "0|[1-9][0-9]{0,8}"
_NAME = re.compile(
    rf"(?P<stem>[a-z_]+)(?P<layer>{_NUMBER})(?:\.(?P<inner>[hn])(?P<index>{_NUMBER}))?", re.ASCII
)


def _stem(site: str) -> tuple[str, str | None]:
    """Give what a site's names begin with, and the letter of what is within a layer."""
    kind = INNER.get(site)
    first = short_name(site, 0, 0 if kind == "head" else None, neuron=0 if kind == "neuron" else None)
    match = _NAME.fullmatch(first)
    assert match is not None, "a short name is read as it is written"
    return match["stem"], match["inner"]


_STEMS = {site: _stem(site) for site in SITES if site != EDGE}
_SITES = {stem: site for site, stem in _STEMS.items()}
