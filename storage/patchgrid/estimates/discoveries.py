"""Which of many components have an effect, with few false ones among them."""

import numpy as np
from numpy.typing import NDArray


def discovered(chances: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Return which hypotheses are refused so that on average at most `rate` of those refused are true.

    Benjamini and Hochberg 1995, "Controlling the false discovery rate", of p-values (NaN: not known, never
    refused). It holds for independent components, and for such as depend on one another positively
    (Benjamini and Yekutieli 2001), as those do that are patched in the same pairs.
    """
    assert 0 < rate < 1, f"rate {rate} is not between 0 and 1"
    known = np.flatnonzero(np.isfinite(chances.ravel()))
    order = known[np.argsort(chances.ravel()[known], kind="stable")]
    below = chances.ravel()[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    found = np.zeros(chances.size, np.bool_)
    if below.any():
        found[order[: np.flatnonzero(below)[-1] + 1]] = True
    return found.reshape(chances.shape)
