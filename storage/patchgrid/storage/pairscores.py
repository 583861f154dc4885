"""What was kept of one pair's scores, over all positions or by position."""

import numpy as np
from numpy.typing import NDArray

from patchgrid.storage import naming
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.pairview import PairView


def whole_scores(view: PairView, site: str) -> NDArray[np.float64]:
    """Give a pair's scores over all positions, `[layer(, inner)]` or `[edge]`."""
    if site not in view.scores:
        raise NothingKept(_nothing(view, "scores", "pairs or positions"))
    scores = view.scores[site].astype(np.float64)
    return scores.sum(axis=1) if has_positions(view, site) else scores


def has_positions(view: PairView, site: str) -> bool:
    """Tell whether a pair's scores at a site were kept by position."""
    return naming.has_positions(view.scores[site], site)


def position_scores(view: PairView, site: str) -> NDArray[np.float64]:
    """Give a pair's scores `[layer, position]`, summed over heads or neurons."""
    if site not in view.scores or not has_positions(view, site):
        raise NothingKept(_nothing(view, "positions", "positions"))
    scores = view.scores[site].astype(np.float64)
    return scores.sum(axis=2) if naming.has_inner(site) else scores


def _nothing(view: PairView, what: str, detail: str) -> str:
    if view.state != "done":
        return f"pair {view.name} is {view.state}: it has no scores"
    return f"no {what} of single pairs were kept: run the job with --detail {detail}"
