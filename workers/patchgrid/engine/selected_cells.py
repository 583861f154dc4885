"""Cells that a caller chose: checked, put together by pair for a call and taken apart again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import ComponentError
from patchgrid.core.types import Component
from patchgrid.engine.calls import Choose
from patchgrid.engine.model.layout import Layout
from patchgrid.engine.results import Measured, PairResult

#: A cell: place of the pair in the caller's list, and the component patched, or its name.
Cell = tuple[int, Component | str]


#: A `Choose` that may name components.
ChooseByName = Callable[[Sequence[int], Sequence[PairResult]], Sequence[Sequence[Component | str]]]


@dataclass(frozen=True, slots=True)
class ChosenCells:
    """Cells in the caller's order, and which of them each pair has."""

    cells: Sequence[tuple[int, Component]]
    #: From the place of a pair to the places of its cells.
    places: dict[int, list[int]]

    @classmethod
    def of(cls, cells: Sequence[Cell], pairs: int, layout: Layout) -> "ChosenCells":
        """Sort cells by pair; raises `ComponentError` for one that does not exist."""
        places: dict[int, list[int]] = {}
        named = {component: Component.of(component) for _, component in cells}
        for component in named.values():
            layout.check_component(component)
        for place, (index, _) in enumerate(cells):
            if not 0 <= index < pairs:
                raise ComponentError(f"cell of pair {index}: out of range (0 to {pairs - 1})")
            places.setdefault(index, []).append(place)
        return cls([(index, named[component]) for index, component in cells], places)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of all cells."""
        return tuple(dict.fromkeys(component.site for _, component in self.cells))

    def choose(self, indices: Sequence[int], _: Sequence[PairResult]) -> Sequence[Sequence[Component]]:
        """Give the components to patch in each pair."""
        return [[self.cells[place][1] for place in self.places[index]] for index in indices]

    def effects(self, measured: Sequence[Measured]) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Give float32 `[cell]` effects, NaN in pairs that were not measured, and those pairs' reasons."""
        values = np.full(len(self.cells), np.nan, dtype=np.float32)
        errors = {}
        for index, each in enumerate(measured):
            if len(each.effects):
                values[self.places[index]] = each.effects
            if each.error is not None:
                errors[index] = each.error
        return values, errors


def checked(choose: ChooseByName, layout: Layout, sites: Collection[str]) -> Choose:
    """Give a `Choose` that reads names and raises `ComponentError` for what model or sites do not have."""

    def choose_checked(places: Sequence[int], results: Sequence[PairResult]) -> Sequence[Sequence[Component]]:
        chosen = [[Component.of(each) for each in few] for few in choose(places, results)]
        for component in {component for components in chosen for component in components}:
            layout.check_component(component)
            if component.site not in sites:
                raise ComponentError(
                    f"{component.name}: site {component.site!r} is not among the selected sites"
                )
        return chosen

    return choose_checked
