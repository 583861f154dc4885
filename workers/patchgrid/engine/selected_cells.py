"""Cells that a caller chose: checked, put together by pair for a call and taken apart again."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.component_sets import ComponentSet, EdgeSet, Patched, sites_of
from patchgrid.core.errors import ArgumentError, ComponentError
from patchgrid.core.types import Component
from patchgrid.engine.calls import Choose
from patchgrid.engine.model.layout import Layout
from patchgrid.engine.results import Measured, PairResult

#: A cell: place of the pair in the caller's list, and the component patched, or its name, or a set of them.
Cell = tuple[int, Component | str | ComponentSet | EdgeSet]


#: A `Choose` that may name components.
ChooseByName = Callable[[Sequence[int], Sequence[PairResult]], Sequence[Sequence[Component | str]]]


@dataclass(frozen=True, slots=True)
class ChosenCells:
    """Cells in the caller's order, and which of them each pair has."""

    cells: Sequence[tuple[int, Patched]]
    #: From the place of a pair to the places of its cells.
    places: dict[int, list[int]]

    @classmethod
    def of(cls, cells: Sequence[Cell], pairs: int, layout: Layout) -> "ChosenCells":
        """Sort cells by pair; raises `ComponentError` for one that does not exist."""
        for cell in cells:
            if not (isinstance(cell, tuple) and len(cell) == 2 and isinstance(cell[0], SupportsIndex)):
                raise ArgumentError(f"a cell is (place of the pair, component), not {cell!r}", "cells")
        places: dict[int, list[int]] = {}
        sets = ComponentSet | EdgeSet
        named = {what: what if isinstance(what, sets) else Component.of(what) for _, what in cells}
        for patched in named.values():
            layout.check_patched(patched)
        for place, (index, _) in enumerate(cells):
            if not 0 <= index < pairs:
                raise ComponentError(f"cell of pair {index}: out of range (0 to {pairs - 1})")
            places.setdefault(index, []).append(place)
        return cls([(index, named[what]) for index, what in cells], places)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of all cells; where nothing is patched, one that every model has."""
        sites = dict.fromkeys(site for _, patched in self.cells for site in sites_of(patched))
        return tuple(sites) or ("resid_pre",)

    def choose(self, indices: Sequence[int], _: Sequence[PairResult]) -> Sequence[Sequence[Patched]]:
        """Return what to patch in each pair."""
        return [[self.cells[place][1] for place in self.places[index]] for index in indices]

    def effects(self, measured: Sequence[Measured]) -> tuple[NDArray[np.float64], dict[int, str]]:
        """Return float64 `[cell]` effects, NaN in pairs that were not measured, and those pairs' reasons."""
        values = np.full(len(self.cells), np.nan)
        errors = {}
        for index, each in enumerate(measured):
            if len(each.effects):
                values[self.places[index]] = each.effects
            if each.error is not None:
                errors[index] = each.error
        return values, errors


def checked(choose: ChooseByName, layout: Layout, sites: Collection[str]) -> Choose:
    """Return a `Choose` that reads names and raises `ComponentError` for what model or sites do not have."""

    if not callable(choose):
        raise ArgumentError(f"choose must be a function or None, not {choose!r}", "choose")

    def choose_checked(places: Sequence[int], results: Sequence[PairResult]) -> Sequence[Sequence[Component]]:
        chosen = [[Component.of(component) for component in _listed(few)] for few in choose(places, results)]
        for component in {component for components in chosen for component in components}:
            layout.check_component(component)
            if component.site not in sites:
                raise ComponentError(
                    f"{component.name}: site {component.site!r} is not among the selected sites"
                )
        return chosen

    return choose_checked


def _listed(components: Sequence[Component | str]) -> Sequence[Component | str]:
    if isinstance(components, (str, Component)) or not isinstance(components, Iterable):
        raise ArgumentError(f"choose must return a list of components a pair, not {components!r}", "choose")
    return components
