"""Attribution patching: gradient of the base run times (source - base) activation.

Nanda 2023, https://www.neelnanda.io/mechanistic-interpretability/attribution-patching; AtP of Kramár et
al. 2024, arXiv 2403.00745, equation 4.
"""

import torch
from torch import Tensor

from patchgrid.engine.activations import Activations, head_view, parts_for, run
from patchgrid.engine.batches import Batch
from patchgrid.engine.layout import Layout
from patchgrid.engine.loading import LoadedModel
from patchgrid.engine.methods.base import BatchScores, Question

#: Sites that enter the residual stream by one addition have the gradient of its sum.
_GRADIENT_AT = {"resid_mid": "attn_out", "mlp_out": "resid_post"}


def score(model: LoadedModel, batch: Batch, question: Question) -> BatchScores:
    """Score every component of the asked sites from two forward passes and one backward.

    The metric is summed, never averaged, over the batch: each pair's gradient is its own.
    """
    base_tokens, source_tokens = question.sides(batch)
    parts = parts_for(question.sites)
    with torch.no_grad():
        source = run(model, batch, source_tokens, parts, grad=False)
    with torch.enable_grad():  # whatever the caller's own mode is
        base = run(model, batch, base_tokens, parts, grad=True)
        clean_logits = question.clean_of(base.logits, source.logits)
        base_metric = question.measure(base.logits, batch.answers, clean_logits)
        gradients = _gradients(base_metric, base)
    source_metric = question.measure(source.logits, batch.answers, clean_logits).detach()
    scores = {
        site: _site_scores(site, source, base, gradients, batch, model.layout) for site in question.sites
    }
    base_metric = base_metric.detach()
    return BatchScores(
        scores,
        clean_metric=question.clean_of(base_metric, source_metric),
        corrupted_metric=question.clean_of(source_metric, base_metric),
    )


def _gradients(metric: Tensor, base: Activations) -> Activations:
    """Gradients of the metric at the stream, z and attn_out, in one backward pass."""
    targets = [*base.stream, *base.z, *base.attn_out]
    flat = list(torch.autograd.grad(metric.sum(), targets))
    layers = len(base.stream)
    z_end = layers + len(base.z)
    return Activations(torch.empty(0), stream=flat[:layers], z=flat[layers:z_end], attn_out=flat[z_end:])


@torch.no_grad()
def _site_scores(
    site: str, source: Activations, base: Activations, gradients: Activations, batch: Batch, layout: Layout
) -> Tensor:
    """Sum gradient times difference over each component's dimensions, zero before the first difference."""
    layers = []
    for layer in range(layout.n_layers):
        difference = (source.at(site, layer) - base.at(site, layer)).float()
        product = difference * gradients.at(_GRADIENT_AT.get(site, site), layer).float()
        layers.append(head_view(product, layout).sum(-1) if site == "z" else product.sum(-1))
    scores = torch.stack(layers, dim=1)
    return scores * (batch.differs[:, None, :, None] if site == "z" else batch.differs[:, None, :])
