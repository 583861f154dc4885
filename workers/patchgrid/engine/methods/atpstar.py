"""AtP*: attribution patching that takes queries and keys through the softmax, not along its slope.

Kramár et al. 2024, arXiv 2403.00745: the QK fix, and with `grad_drop` GradDrop too (`graddrop.py`). The
other sites have the scores of `atp`.
"""

from collections.abc import Mapping

import torch
from einops import reduce
from torch import Tensor

from patchgrid.core.errors import SpecError
from patchgrid.core.methods import AtPStar
from patchgrid.core.query import Query
from patchgrid.engine.methods import atp
from patchgrid.engine.methods.graddrop import dropping
from patchgrid.engine.methods.qkfix import Attended
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.taps import AttentionCall, recorded_calls
from patchgrid.engine.runs.activations import Activations
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.stacking import magnitudes
from patchgrid.engine.sites.attention import Pattern, for_queries, modules
from patchgrid.engine.sites.base import head_view

#: The sites that act through the softmax.
FIXED = ("q", "k")
#: What their scores are made from.
_NEEDED = ("q", "k", "v", "z")


def score(passes: Passes, method: AtPStar) -> Mapping[str, Tensor]:
    """Score every component of the asked sites; with `grad_drop`, unsigned.

    One backward pass; with `grad_drop` another one below each layer.
    """
    fixes = any(site in FIXED for site in passes.question.sites)
    with recorded_calls(modules(passes.model.layout) if fixes else ()) as calls:
        base = passes.base_with_graph(also=_NEEDED if fixes else ())
    scores = Scores(passes, calls, unsigned=method.grad_drop)
    with torch.enable_grad():  # whatever the caller's own mode is
        metric = passes.base_metric.sum()
        if method.grad_drop:
            return dropping(passes, base, scores, metric)
        with scores.watching(base):
            torch.autograd.grad(metric, [base.stream[0]])
    return scores.by_site()


def check(model: LoadedModel, query: Query, method: AtPStar) -> None:
    """Raise `SpecError` for queries and keys of unknown attention, and for GradDrop of one layer."""
    fixed = [site for site in query.sites if site in FIXED]
    missing = model.layout.lacks.get("softmax")
    if missing is not None and fixed:
        raise SpecError(f"atp* cannot score {fixed[0]} of this model: {missing}. Use atp", "method")
    if method.grad_drop and model.layout.n_layers < 2:
        raise SpecError("GradDrop needs a model with at least two layers", "grad_drop")


class Scores(atp.Scores):
    """The scores of a batch as backward passes come by them."""

    def __init__(self, passes: Passes, calls: Mapping[int, AttentionCall], *, unsigned: bool) -> None:
        super().__init__(passes, passes.base_rows)
        self._calls, self._unsigned = calls, unsigned

    def _watched(self, run: Activations, site: str, layer: int) -> Tensor:
        return super()._watched(run, "z" if site in FIXED else site, layer)

    def _scored(self, site: str, layer: int, gradient: Tensor) -> Tensor:
        fixed = self._fixed(site, layer, gradient) if site in FIXED else None
        if not self._unsigned:
            return super()._scored(site, layer, gradient) if fixed is None else fixed
        if fixed is not None:
            return fixed.abs()
        return magnitudes(self._passes, site, self._product(site, layer, gradient))

    def _fixed(self, site: str, layer: int, gradient: Tensor) -> Tensor:
        """Score a layer's queries or keys, `[pair, position, head]`, from the gradient at its z."""
        passes = self._passes
        attended = self._attended(layer, gradient)
        source = passes.replacement.at(site, layer)
        count = passes.model.layout.count(site)
        assert count is not None, "queries and keys have heads"
        others = head_view(source, count).transpose(1, 2).to(attended.slope.device)
        if site == "q":
            return attended.of_queries(others[:, :, -attended.queries.shape[2] :].float()).transpose(1, 2)
        by_query_head = attended.of_keys(for_queries(others, passes.model.layout.n_heads))
        return reduce(by_query_head, "pair (head group) position -> pair position head", "sum", head=count)

    def _attended(self, layer: int, gradient: Tensor) -> Attended:
        """Lay out a layer's attention in the base run, one row a pair."""
        passes, base, call = self._passes, self.run, self._calls[layer]
        queries, keys, values = base.q[layer], base.k[layer], base.v[layer]
        count = queries.shape[1]
        slope = passes.base_rows.of_pairs(head_view(gradient, count).transpose(1, 2).float())
        first = queries.shape[2] - slope.shape[2]

        def by_pair(heads: Tensor) -> Tensor:
            return for_queries(passes.base_rows.of_pairs(heads.detach()), count)

        return Attended(
            Pattern.of(call, queries, keys).of_rows(passes.base_rows.of_pairs),
            by_pair(queries[:, :, first:]),
            by_pair(keys),
            by_pair(values),
            slope,
            first,
        )
