"""The engine's calls that patch what the caller names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.component_sets import ComponentSet, EdgeSet
from patchgrid.core.errors import ArgumentError, ComponentError, PairError
from patchgrid.core.means import Means
from patchgrid.core.query import Query, as_names
from patchgrid.core.sites import EDGE
from patchgrid.core.types import Component, Pair
from patchgrid.engine.caller import Caller, check_pairs
from patchgrid.engine.calls import Call, OnBatch, ignore
from patchgrid.engine.model.layout import Layout
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.selected_cells import Cell, ChosenCells


class Patching:
    """What `Engine` patches with."""

    _model: LoadedModel
    _caller: Caller

    @property
    def layout(self) -> Layout:
        """The model's layers, heads, sizes and sites."""
        return self._model.layout

    def patch(
        self,
        pairs: Sequence[Pair],
        components: Sequence[Component | str],
        *,
        direction: str = "denoise",
        metric: str = "logit_diff",
        source: str = "pair",
        means: Means | None = None,
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
    ) -> NDArray[np.float64]:
        """Patch every component, given as such or by its name (`a9.h6@-1`), in every pair exactly.

        Returns
        -------
        float64 `[pair, component]`: metric(patched run) - metric(base run), in metric units.

        Raises
        ------
        PairError
            A pair cannot be measured; none is then.
        ComponentError
            A component that the model or a pair does not have.
        """
        if isinstance(components, (str, Component)):
            raise ArgumentError(f"components must be a list: [{components!r}]", "components")
        return self._table(
            pairs,
            components,
            direction=direction,
            metric=metric,
            source=source,
            means=means,
            prepend_bos=prepend_bos,
            batch_tokens=batch_tokens,
        )

    def patch_sets(
        self,
        pairs: Sequence[Pair],
        sets: Sequence[ComponentSet | EdgeSet | Iterable[Component | str]],
        *,
        keep_at: str | Sequence[str] | None = None,
        direction: str = "denoise",
        metric: str = "logit_diff",
        source: str = "pair",
        means: Means | None = None,
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
        on_batch: OnBatch = ignore,
    ) -> NDArray[np.float64]:
        """Patch every set in every pair exactly: all components of a set together, in one run.

        A set is a list of nodes or neurons, of any sites, layers and positions, or a `ComponentSet`. Each is
        overwritten when the run gets there; of overlapping ones, what comes later in the forward pass stands.
        Or it is a list of edges, or an `EdgeSet`: each reader reads the run's own stream, plus, over its
        edges in the set, what is put in for the sender less what the run's sender gives (Conmy et al. 2023,
        arXiv 2304.14997). `on_batch` is that of `Engine.measure`.

        Parameters
        ----------
        keep_at
            Sites: a set is what is kept of them, and everything else there is patched. None: it is patched.
            `edge`: the sets are circuits of edges, and all other edges are patched.

        Returns
        -------
        float64 `[pair, set]`: metric(patched run) - metric(base run), in metric units; 0 for an empty set.

        Raises
        ------
        PairError
            A pair cannot be measured; none is then.
        ComponentError
            Edges beside nodes, or a component that the model or a pair does not have.
        """
        if isinstance(sets, (str, Component, ComponentSet, EdgeSet)) or not isinstance(sets, Iterable):
            raise ArgumentError(f"sets must be a list of sets, not {sets!r}", "sets")
        return self._table(
            pairs,
            self._patched(sets, keep_at),
            direction=direction,
            metric=metric,
            source=source,
            means=means,
            prepend_bos=prepend_bos,
            batch_tokens=batch_tokens,
            on_batch=on_batch,
        )

    def patch_cells(
        self,
        pairs: Sequence[Pair],
        cells: Sequence[Cell],
        *,
        direction: str = "denoise",
        metric: str = "logit_diff",
        source: str = "pair",
        means: Means | None = None,
        prepend_bos: bool | None = None,
        batch_tokens: int | None = None,
        on_batch: OnBatch = ignore,
    ) -> tuple[NDArray[np.float64], dict[int, str]]:
        """Patch chosen cells exactly: (place of the pair, component), or (place of the pair, `ComponentSet`).

        A component can be given by its name. `on_batch` is that of `Engine.measure`.

        Returns
        -------
        float64 `[cell]` effects, NaN in pairs that could not be measured, and those pairs' reasons.
        """
        check_pairs(pairs)
        chosen = ChosenCells.of(cells, len(pairs), self.layout)
        if not cells:
            return np.empty(0), {}
        question = self._caller.question(Query(chosen.sites, (), metric, direction, source), means)
        call = Call(self._model, question, chosen.choose, self._caller.budget(batch_tokens), on_batch)
        return chosen.effects(self._caller.run(call, pairs, prepend_bos, chosen.places))

    def _patched(
        self,
        sets: Sequence[ComponentSet | EdgeSet | Iterable[Component | str]],
        keep_at: str | Sequence[str] | None,
    ) -> Sequence[ComponentSet | EdgeSet]:
        """Read sets, all of them of edges or none, and what of each is patched."""
        single = ComponentSet | EdgeSet | str | Component
        read: list[Any] = [each if isinstance(each, single) else [*each] for each in sets]
        kept = () if keep_at is None else as_names(keep_at)
        if EDGE not in kept and not any(map(_has_edges, read)):
            return [self._replaced(ComponentSet.of(components), keep_at) for components in read]
        if kept not in ((), (EDGE,)):
            raise ComponentError(f"edges are kept at the site edge alone, not at {', '.join(kept)}")
        edges = [
            each if isinstance(each, EdgeSet) else EdgeSet.of(_listed(each), self.layout.graph)
            for each in read
        ]
        return [each.all_but() if kept else each for each in edges]

    def _replaced(self, components: ComponentSet, keep_at: str | Sequence[str] | None) -> ComponentSet:
        if keep_at is None:
            return components
        sites = as_names(keep_at)
        self.layout.check_sites(sites)
        self.layout.check_set(components)
        counts = {site: self.layout.count(site) for site in sites}
        return components.all_but(counts, self.layout.n_layers)

    def _table(
        self,
        pairs: Sequence[Pair],
        columns: Sequence[Component | str | ComponentSet | EdgeSet],
        *,
        direction: str,
        metric: str,
        source: str,
        means: Means | None,
        prepend_bos: bool | None,
        batch_tokens: int | None,
        on_batch: OnBatch = ignore,
    ) -> NDArray[np.float64]:
        """Patch each column in each pair; raise `PairError` for the first pair that cannot be measured."""
        check_pairs(pairs)
        values, errors = self.patch_cells(
            pairs,
            [(index, column) for index in range(len(pairs)) for column in columns],
            direction=direction,
            metric=metric,
            source=source,
            means=means,
            prepend_bos=prepend_bos,
            batch_tokens=batch_tokens,
            on_batch=on_batch,
        )
        if errors:
            index, reason = min(errors.items())
            raise PairError(f"pair {pairs[index].id or index}: {reason}")
        return values.reshape(len(pairs), len(columns))


def _has_edges(components: "ComponentSet | EdgeSet | Iterable[Component | str]") -> bool:
    """Tell whether a set has an edge."""
    if isinstance(components, (ComponentSet, str, Component)):
        return False
    return isinstance(components, EdgeSet) or any(Component.of(each).edge is not None for each in components)


def _listed(components: "ComponentSet | Iterable[Component | str]") -> Iterable[Component | str]:
    if isinstance(components, (ComponentSet, str, Component)):
        raise ArgumentError(f"a set of edges must be a list of edges, not {components!r}", "sets")
    return components
