"""From a place in a site's scores to the component that stands there, and from its name back to the place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import ComponentError
from patchgrid.core.graph import Graph
from patchgrid.core.sites import EDGE, INDEX_FIELDS, SITES, index_fields, index_of_fields, short_name
from patchgrid.core.types import Component


@dataclass(frozen=True, slots=True)
class Place:
    """Which component of a site it is."""

    #: Layer, from 0; of an edge, the layer of its sender.
    layer: int
    #: Index within the layer, of its site's kind, or None; of an edge, its sender's head.
    index: int | None = None
    #: An edge's name, or None.
    edge: str | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What a component's short name says."""

    #: One of `SITES`.
    site: str
    place: Place
    #: The part after `@`, or None: all positions at once.
    position: str | None = None


def has_inner(site: str) -> bool:
    """Tell whether a site's scores have an axis of indices within a layer, the last one."""
    return SITES[site].count is not None


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
        return Place(component.layer, component.index, component.edge)
    return Place(first, inner if has_inner(site) else None)


def indexed(site: str, place: Sequence[int], graph: Graph | None = None) -> Place:
    """Name the component at `[layer(, inner)]` or `[edge]`."""
    first, *inner = place
    return place_of(site, first, inner[0] if inner else None, graph)


def index_of(place: Place, graph: Graph | None = None) -> list[int]:
    """Return the index `[layer(, inner)]` or `[edge]` of a place; `ComponentError` for an unknown edge."""
    if place.edge is not None:
        assert graph is not None, "edges are numbered by their model's graph"
        return [graph.number_of(place.edge)]
    return [place.layer, *([] if place.index is None else [place.index])]


def read_name(name: str) -> Named | None:
    """Read a short name, written exactly as `short_name` writes it; None if nothing is named so.

    The position can be a span's name.
    """
    stem, at, behind = name.partition("@")
    if len(stem) > _LONGEST:
        return None
    try:
        component = Component.parse(stem)
    except ComponentError:
        return None
    if max(component.layer, component.index or 0) > _LARGEST:
        return None
    place = Place(component.layer, component.index, component.edge)
    return Named(component.site, place, behind if at else None)


#: From a row of the database to the fields of its component's index.
_index_columns = attrgetter(*INDEX_FIELDS)


def place_of_row(row: Any) -> Place:
    """Read a component's place from a row of a table with `component_columns`."""
    edge = row.component if row.site == EDGE else None
    return Place(row.layer, index_of_fields(_index_columns(row)), edge)


# Naming a component takes time, and each is named in many rows.
@lru_cache(maxsize=1 << 16)
def component_values(site: str, layer: int, index: int | None, edge: str | None) -> tuple[Any, ...]:
    """Return the values of `component_columns`: site, short name, layer and the index by its kind."""
    name = short_name(site, layer, index, edge=edge)
    return site, name, layer, *index_fields(site, index).values()


def with_index_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's fields as in exports and JSON: `head` and `unit` instead of `index`."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        fields |= index_fields(values["site"], value) if name == "index" else {name: value}
    return fields


def site_names(
    site: str, axes: Sequence[int], labels: Sequence[int | str], graph: Graph | None = None
) -> list[str]:
    """Return the short names of all of a site's components, in the order of their sums.

    `axes` are those of the sums, `labels` name the aligned positions, if there are any.
    """
    positions = [f"@{label}" for label in labels] or [""]
    if site == EDGE:
        assert graph is not None, "edges are numbered by their model's graph"
        return [f"{edge}{position}" for edge in graph.names for position in positions]
    record = SITES[site]
    inner = [f"{record.mark}{index}" for index in range(axes[-1])] if has_inner(site) else [""]
    layers = [f"{record.begin}{layer}" for layer in range(axes[0])]
    return [f"{layer}{each}{position}" for layer in layers for position in positions for each in inner]


#: Longest name of a component without its position, and the largest number in one: what the databases hold.
_LONGEST, _LARGEST = 100, 2**31 - 1
