"""What pictures in tests are drawn of."""

import numpy as np
from numpy.typing import NDArray

UNIT = "logit difference"
#: How a PNG file begins.
PNG = b"\x89PNG"


def random_values(layers: int, columns: int) -> NDArray[np.float64]:
    """Return the same normally distributed numbers each time."""
    return np.random.default_rng(0).normal(size=(layers, columns))
