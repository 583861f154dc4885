"""The rounding floor adds up over chunks."""

import numpy as np
import pytest

from patchgrid.estimates import Rounding
from patchgrid.estimates.rounding import is_near


def test_the_floor_of_parts_is_that_of_all_their_effects() -> None:
    """A root mean square, whatever the parts."""
    effects = np.random.default_rng(0).normal(size=100)
    parts = sum((Rounding.of(part) for part in np.split(effects, [1, 1, 30])), Rounding())
    assert parts.floor == pytest.approx(float(np.sqrt(np.square(effects).mean())))
    assert Rounding().floor is None


def test_effects_below_ten_floors_are_near_it() -> None:
    """By their median size; where there is nothing to compare, nothing is near."""
    assert is_near(0.1, [0.9, -0.95, 5.0])
    assert not is_near(0.1, [-1.1, 1.2, 0.0])
    assert not is_near(None, [1.0])
    assert not is_near(0.1, [None])
