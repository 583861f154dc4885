"""A pair's strongest components, of what was kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchgrid.core.sites import short_name
from patchgrid.storage.chunks.naming import indexed
from patchgrid.storage.pair_results.pair_scores import has_positions, whole_scores
from patchgrid.storage.pair_results.pair_view import PairView


@dataclass(frozen=True, slots=True)
class Scored:
    """One component of the pair."""

    site: str
    layer: int
    #: Index within the layer, of its site's kind, or None.
    index: int | None
    #: Index into the pair's own tokens, or None: all at once.
    position: int | None
    #: Score by the method shown, metric units.
    score: float
    #: An edge's name, or None.
    edge: str | None = None

    @property
    def name(self) -> str:
        """The short name."""
        return short_name(self.site, self.layer, self.index, self.position, self.edge)


def whole_components(view: PairView, count: int) -> list[Scored]:
    """Return the pair's strongest stored components over all positions, the strongest first."""
    components = kept_alone(view)
    for site in view.scores:
        scores = whole_scores(view, site)
        for number in np.argsort(-np.abs(scores), axis=None, kind="stable")[:count]:
            index = np.unravel_index(number, scores.shape)
            components.append(_scored(view, site, index, None, float(scores[index])))
    return sorted(components, key=lambda component: abs(component.score), reverse=True)[:count]


def kept_alone(view: PairView) -> list[Scored]:
    """Return the stored components of sites too large to store whole, the strongest first."""
    components = [
        Scored(one.site, one.layer, one.index, None, one.score, one.edge)
        for one in view.top
        if one.site not in view.scores
    ]
    return sorted(components, key=lambda component: abs(component.score), reverse=True)


def strongest_by_position(view: PairView) -> list[Scored]:
    """Return each position's strongest component; nothing where positions are not stored."""
    best: dict[int, Scored] = {}
    for site, scores in view.scores.items():
        if not has_positions(view, site):
            continue
        for position in range(scores.shape[1]):
            part = scores[:, position]
            index = np.unravel_index(int(np.abs(part).argmax()), part.shape)
            score = float(part[index])
            if position not in best or abs(score) > abs(best[position].score):
                best[position] = _scored(view, site, index, position, score)
    return [best[position] for position in sorted(best)]


def _scored(view: PairView, site: str, index: Sequence[Any], position: int | None, score: float) -> Scored:
    place = indexed(site, [int(along) for along in index], view.graph)
    return Scored(site, place.layer, place.index, position, score, place.edge)
