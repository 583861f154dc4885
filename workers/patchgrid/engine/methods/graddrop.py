"""GradDrop: blocking one layer at a time keeps direct and indirect effects from cancelling.

Kramár et al. 2024, arXiv 2403.00745, the section on GradDrop: one backward pass a layer, in which the
gradient on what that layer's attention and MLP add to the residual stream is zero. A score is the sum of the
absolute estimates over the number of layers less one, since a component's own layer gives it none.

Where layer l adds nothing, the gradient after it is the gradient before it: pass l is the part of a backward
pass below layer l, started with the plain gradient above it. All that lies above has its plain estimate.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from patchgrid.engine.methods.atp import Scores
from patchgrid.engine.runs.activations import Activations
from patchgrid.engine.runs.passes import Passes


def dropping(passes: Passes, base: Activations, scores: Scores, metric: Tensor) -> Mapping[str, Tensor]:
    """Score every component of the asked sites, unsigned.

    Parameters
    ----------
    base
        The base run, with its graph.
    scores
        Returns absolute estimates.
    metric
        The base run's, a scalar with its graph.
    """
    sites = passes.question.sites
    n_layers = passes.model.layout.n_layers
    with scores.watching(base), _gradients(base) as above:
        torch.autograd.grad(metric, [base.stream[0]], retain_graph=True)
    plain = scores.take()
    total = {key: estimate * _passes_below(*key) for key, estimate in plain.items()}
    for dropped in reversed(range(n_layers)):
        gradient = above[dropped + 1]
        with scores.watching(base):
            if dropped:
                torch.autograd.grad(
                    [base.stream[dropped]], [base.stream[0]], gradient, retain_graph=dropped > 1
                )
        if "resid_pre" in sites and not dropped:
            scores.add(gradient, [("resid_pre", 0)])
        if "resid_mid" in sites:
            scores.add(gradient, [("resid_mid", dropped)])
        for key, estimate in scores.take().items():
            total[key] += estimate
        passes.model.pulse.beat()
    scores.put({key: each / (n_layers - 1) for key, each in total.items()})
    return scores.by_site()


def _passes_below(site: str, layer: int) -> int:
    """Count the passes that drop a layer below a component, and so leave it its plain estimate."""
    return layer + 1 if site == "resid_post" else layer


@contextmanager
def _gradients(base: Activations) -> Iterator[dict[int, Tensor]]:
    """Yield the gradient behind each block, by its place in the stream, filled by a backward pass."""
    gradients: dict[int, Tensor] = {}
    streams: list[tuple[int, Any]] = list(enumerate(base.stream))[1:]
    hooks = [tensor.register_hook(partial(gradients.__setitem__, place)) for place, tensor in streams]
    try:
        yield gradients
    finally:
        for hook in hooks:
            hook.remove()
