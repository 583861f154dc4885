"""Sets of components that are patched together, in one run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from patchgrid.core import names
from patchgrid.core.errors import ArgumentError, ComponentError
from patchgrid.core.graph import Graph
from patchgrid.core.sites import EDGE, SITES, short_name
from patchgrid.core.types import Component

#: Indices into the pair's own tokens, as `Component.position`.
Position = int | tuple[int, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Components of one site, one layer and the same positions."""

    site: str
    layer: int
    #: Indices within the layer, sorted, each once; None: the whole layer.
    indices: tuple[int, ...] | NDArray[np.int64] | None
    position: Position = None

    def __len__(self) -> int:
        """Return the number of components; a whole layer is one."""
        return 1 if self.indices is None else len(self.indices)

    def ends(self) -> tuple[Component, ...]:
        """Return the components with the smallest and the largest index."""
        if self.indices is None:
            return (Component(self.site, self.layer, position=self.position),)
        few = (self.indices[0], self.indices[-1])
        return tuple(Component(self.site, self.layer, index, self.position) for index in few)


@dataclass(frozen=True, slots=True, eq=False)
class ComponentSet:
    """Components that are patched together: of any sites, layers and positions, but no edges.

    Each component is overwritten when the run gets there. Where one contains another (a layer's `attn_out`
    and a head of it), what comes later in the forward pass overwrites what came before.
    """

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, components: "Iterable[Component | str] | ComponentSet") -> "ComponentSet":
        """Make a set of components, each given as such or by its name; one named twice counts once.

        Raises `ComponentError` for an edge or a name that cannot be read.
        """
        if isinstance(components, ComponentSet):
            return components
        if isinstance(components, (str, Component)) or not isinstance(components, Iterable):
            raise ArgumentError(f"a set must be a list of components, not {components!r}", "sets")
        indices: dict[tuple[str, int, Position], set[int]] = {}
        whole: dict[tuple[str, int, Position], None] = {}
        for component in map(Component.of, components):
            if component.edge is not None:
                raise ComponentError(f"{component.name} is an edge: a set has either edges or none")
            key = component.site, component.layer, component.position
            if component.index is None:
                whole[key] = None
            else:
                indices.setdefault(key, set()).add(component.index)
        layers = [Part(site, layer, None, position) for site, layer, position in whole]
        some = [
            Part(site, layer, tuple(sorted(members)), position)
            for (site, layer, position), members in indices.items()
            if (site, layer, position) not in whole
        ]
        return cls((*layers, *some))

    @classmethod
    def of_site(
        cls,
        site: str,
        indices: Mapping[int, Iterable[SupportsIndex] | NDArray[np.integer]],
        position: Position = None,
    ) -> "ComponentSet":
        """Make a set of one site's components from each layer's indices, thousands of them at no cost."""
        names.check_name("site", site, SITES, "site")
        if SITES[site].index is None or site == EDGE:
            raise ComponentError(f"site {site!r} has no index: name its layers as components")
        unique = {layer: np.unique(np.asarray(few, dtype=np.int64)) for layer, few in indices.items()}
        return cls(tuple(Part(site, layer, few, position) for layer, few in unique.items() if len(few)))

    def all_but(self, counts: Mapping[str, int | None], layers: int) -> "ComponentSet":
        """Return everything else at some sites, at all positions.

        Parameters
        ----------
        counts
            The sites, each with its number of components a layer; None: a layer is one.
        layers
            Number of layers.

        Raises
        ------
        ComponentError
            A component of the set is at another site, or at chosen positions.
        """
        kept: dict[tuple[str, int], NDArray[np.bool_]] = {}
        for part in self.parts:
            if part.site not in counts or part.position is not None:
                why = (
                    f"is at another site than {', '.join(counts)}"
                    if part.position is None
                    else "has a position"
                )
                raise ComponentError(f"{part.ends()[0].name} cannot be kept: it {why}")
            mask = kept.setdefault((part.site, part.layer), np.zeros(counts[part.site] or 1, bool))
            mask[slice(None) if part.indices is None else np.asarray(part.indices)] = True
        rest = []
        for site, count in counts.items():
            for layer in range(layers):
                others = np.flatnonzero(~kept.get((site, layer), np.zeros(count or 1, bool)))
                if len(others):
                    rest.append(Part(site, layer, None if count is None else others))
        return ComponentSet(tuple(rest))

    def __len__(self) -> int:
        """Return the number of components."""
        return sum(map(len, self.parts))

    @property
    def name(self) -> str:
        """Its components' names, of many the first three and the number."""
        shown = [
            short_name(part.site, part.layer, None if index is None else int(index), part.position)
            for part in self.parts[:3]
            for index in ((None,) if part.indices is None else part.indices[:3])
        ][:3]
        more = len(self) - len(shown)
        return f"{{{', '.join(shown)}{f' and {more:,} more' if more else ''}}}"

    def __repr__(self) -> str:
        return f"<ComponentSet {self.name}>"


@dataclass(frozen=True, slots=True, eq=False)
class EdgeSet:
    """Edges that are patched together, at all positions: each reader reads what some senders give elsewhere.

    What a reader reads is the run's own stream, plus, over the senders of its edges in the set, what is put
    in for the sender less what the run's own gives.
    """

    #: Numbers of the edges in the model's graph, sorted, each once.
    numbers: NDArray[np.int64]
    #: The graph that numbers them.
    graph: Graph

    @classmethod
    def of(cls, edges: Iterable[Component | str], graph: Graph) -> "EdgeSet":
        """Make a set of edges, each given as such or by its name.

        Raises `ComponentError` for what is no edge, for one at chosen positions, or that the model lacks.
        """
        numbers = []
        for edge in map(Component.of, edges):
            if edge.edge is None:
                raise ComponentError(f"{edge.name} is not an edge: a set has either edges or none")
            if edge.position is not None:
                raise ComponentError(f"{edge.name}: the edges of a set are patched at all positions")
            numbers.append(graph.number_of(edge.edge))
        return cls(np.unique(np.array(numbers, np.int64)), graph)

    def all_but(self) -> "EdgeSet":
        """Return all other edges."""
        others = np.ones(self.graph.count, bool)
        others[self.numbers] = False
        return EdgeSet(np.flatnonzero(others), self.graph)

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.numbers)

    @property
    def name(self) -> str:
        """Its edges' names, of many the first three and the number."""
        shown = [self.graph.name(int(number)) for number in self.numbers[:3]]
        more = len(self) - len(shown)
        return f"{{{', '.join(shown)}{f' and {more:,} more' if more else ''}}}"

    def __repr__(self) -> str:
        return f"<EdgeSet {self.name}>"


#: What one run is patched with.
Patched = Component | ComponentSet | EdgeSet


def sites_of(patched: Patched) -> tuple[str, ...]:
    """Return the sites at which a run is patched."""
    if isinstance(patched, EdgeSet):
        return (EDGE,)
    return tuple(part.site for part in parts_of(patched))


def parts_of(patched: Patched) -> tuple[Part, ...]:
    """Return the parts of a set, none of a set of edges; a component is a set of one."""
    if isinstance(patched, EdgeSet):
        return ()
    if isinstance(patched, ComponentSet):
        return patched.parts
    indices = None if patched.index is None else (patched.index,)
    return (Part(patched.site, patched.layer, indices, patched.position),)
