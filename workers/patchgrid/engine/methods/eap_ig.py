"""Edge attribution patching with integrated gradients: `eap` with gradients averaged over a path.

Hanna et al. 2024, arXiv 2403.17806, equation 3: the model's input, the first block's `resid_pre`, moves in a
straight line from the base run's to the source's, and what a sender adds more in the source run is multiplied
by the mean of the gradients at what a reader reads on the way. They are taken at the middles of equal parts,
(k - 1/2) / m for k = 1 to m: the error falls with the square of m. The paper and its code have k / m, for
k = 1 to m, from 0 to m - 1 or from 0 to m.

Norms behind heads' output projections are differentiated on the way, too: see `eap`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from patchgrid.core.methods import EAPIG
from patchgrid.core.sites import EDGE
from patchgrid.engine.methods.eap import EdgeScores
from patchgrid.engine.methods.ig import fractions, moved
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.rows import Rows


def score(passes: Passes, method: EAPIG) -> Mapping[str, Tensor]:
    """Score every edge at the points of the path, a forward and a backward each.

    Returns
    -------
    As `eap.score`.
    """
    pairs = range(len(passes.batch.pairs))
    edges = EdgeScores(passes)
    index = torch.tensor(pairs, device=passes.model.device)
    tokens, _ = passes.question.sides(passes.batch)
    # A row a pair: on the way, pairs share nothing.
    rows = Rows.of_side(passes.batch, tokens, pairs)
    for point in fractions(method.steps):
        with torch.enable_grad():  # whatever the caller's own mode is
            there = moved(passes, rows, [point])
            metric = passes.measure(there.last, index).sum()
        edges.add(there, metric, None)
    return {EDGE: edges.found / method.steps}
