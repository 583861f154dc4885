"""Relevance patching: attribution patching with relevance propagation's coefficients for gradients.

Jafari et al. 2025, RelP, arXiv 2508.21258: one forward pass of each prompt and one backward pass, as for
`atp`, but a backward pass that is right for large changes where gradients are not. Its rules (table 1) change
how gradients flow and no forward value:

- norms (LN-rule): the scale, 1 / standard deviation or 1 / root mean square, is constant;
- activations (identity rule): act(x) is x times the constant act(x) / x;
- gated products (half rule): each factor has half of its gradient;
- what follows the last position's logits, the metric among it, keeps its gradient.

Attention keeps its gradients, through the pattern as through the values, as the authors' own code has it for
language models (rules LN, Identity and Half, github.com/FarnoushRJ/RelP). Their AH-rule, which takes the
pattern for constant, is not applied.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from patchgrid.core.errors import SpecError
from patchgrid.core.methods import RelP
from patchgrid.core.query import Query
from patchgrid.engine.methods.atp import Scores
from patchgrid.engine.methods.backward_rules import Rules
from patchgrid.engine.methods.conservation import check_rules
from patchgrid.engine.methods.rule_modules import find_rules
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.passes import Passes


def score(passes: Passes, _method: RelP) -> Mapping[str, Tensor]:
    """Score every component of the asked sites from the source run, a base run and one backward."""
    scores = Scores(passes, passes.base_rows)
    base = passes.base_with_graph(_rules(passes.model).apply)
    with torch.enable_grad():
        metric = passes.base_metric.sum()
        with scores.watching(base):
            torch.autograd.grad(metric, [base.stream[0]])
    return scores.by_site()


def check(model: LoadedModel, _query: Query, _method: RelP) -> None:
    """Raise `SpecError` where a block has something that no rule was found for."""
    _rules(model)


def _rules(model: LoadedModel) -> Rules:
    """Return a model's rules: found, and checked, when they are first asked for."""
    if "relp" not in model.found:
        try:
            rules = find_rules(model)
            reason = check_rules(model, rules)
        except Exception as error:
            raise SpecError(
                f"relp is not supported for this model: testing its rules failed: {error}", "method"
            ) from error
        if reason is not None:
            raise SpecError(f"relp is not supported for this model: {reason}", "method")
        model.found["relp"] = rules
    cached = model.found["relp"]
    assert isinstance(cached, Rules), "no one else keeps anything by this name"
    return cached
