"""Truths made from random numbers, for what no model at hand shows."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.estimates.truth import SITES, Floats, Truth

#: The mean effects of all pairs that `templated` can make, by component.
TEMPLATED_MEANS: Floats = 1.1 * np.geomspace(0.01, 3, 100)
#: The names of what is made here.
NAMES = ("heavy tails", "templates")


def heavy_tailed(pairs: int = 300, components: int = 100, seed: int = 0) -> Truth:
    """Make effects of which a few pairs carry most: residuals of Student's t, two degrees of freedom."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(0.01, 3, components)
    scores = sizes * rng.gamma(2.0, 0.5, size=(pairs, components))
    effects = 1.2 * scores + 0.3 * sizes * rng.standard_t(2, size=scores.shape)
    return _truth("heavy tails", scores, effects, rng.normal(5, 1, size=pairs), np.arange(pairs))


def templated(pairs: int = 300, components: int = 100, templates: int = 15, seed: int = 0) -> Truth:
    """Make effects that differ between templates more than between pairs of one."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(0.01, 3, components)
    groups = np.arange(pairs) % templates
    shared = rng.normal(size=(templates, components))[groups]
    scores = sizes * (1 + 0.3 * shared + 0.1 * rng.normal(size=(pairs, components)))
    effects = 1.1 * scores + sizes * (0.3 * shared + 0.1 * rng.normal(size=scores.shape))
    return _truth("templates", scores, effects, 5 + shared[:, 0], groups)


def _truth(name: str, scores: Floats, effects: Floats, totals: Floats, groups: NDArray[np.int64]) -> Truth:
    sites = np.full(scores.shape[1], SITES.index("z"))
    return Truth(name, ("atp",), scores[None], effects, totals, groups, sites)
