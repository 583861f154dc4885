"""Scores are derivatives: small steps toward the source must agree with them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.engine import Component
from reference.patching import Reference
from support.cases import Case, assert_close
from support.models import each

CaseOf = Callable[[str], Case]
Array = NDArray[np.float64]
#: The pair whose prompts differ in several tokens, the last one included.
PAIR = 4
#: Steps toward the source, each half of the one before.
STEPS = (2**-8, 2**-9)
#: Relative error under which halving cannot be told from rounding.
NOISE = 5e-3
SETTINGS = [("denoise", "logit_diff"), ("denoise", "kl"), ("noise", "prob_diff"), ("noise", "logprob")]
FEWER = [("denoise", "logit_diff"), ("noise", "logprob")]


@pytest.fixture(scope="module")
def slopes_of(case_of: CaseOf) -> Callable[[str, str, str], dict[str, list[Array]]]:
    """Give the float64 slopes over both steps of each site's components at the last two positions."""
    logits: dict[tuple[str, str], tuple[Reference, dict[str, list[list[Tensor]]]]] = {}

    def get(family: str, direction: str, metric_name: str) -> dict[str, list[Array]]:
        if (family, direction) not in logits:
            case = case_of(family)
            torch.set_default_dtype(torch.float64)  # XGLM makes a limit of its scores in it
            try:
                reference = Reference(case.model.double().model, case.token_pairs[PAIR], direction)
                steps = {site: _steps(reference, site) for site in case.sites}
            finally:
                torch.set_default_dtype(torch.float32)
            logits[family, direction] = (reference, steps)
        reference, by_site = logits[family, direction]
        metric = reference.metric(metric_name)
        before = float(metric(reference.base.logits.detach()))
        return {
            site: [
                np.array([(float(metric(row)) - before) / step for row in rows])
                for step, rows in zip(STEPS, both, strict=True)
            ]
            for site, both in by_site.items()
        }

    return get


def _steps(reference: Reference, site: str) -> list[list[Tensor]]:
    """Run each component of a site moved by each step; logits by step and component."""
    layers = reference.model.config.num_hidden_layers
    heads = range(reference.heads) if site == "z" else [None]
    chosen = [
        Component(site, layer, h, position=p) for layer in range(layers) for p in (-2, -1) for h in heads
    ]
    return [[reference.patched_logits(component, step) for component in chosen] for step in STEPS]


@pytest.mark.parametrize(("family", "direction", "metric"), each(SETTINGS, FEWER))
def test_the_reference_is_the_limit_of_small_steps(
    case_of: CaseOf,
    slopes_of: Callable[..., dict[str, list[Array]]],
    family: str,
    direction: str,
    metric: str,
) -> None:
    """A one-sided difference's error halves with the step, or better; the two extrapolated have none."""
    scores = case_of(family).references(direction)[PAIR].scores(metric)
    for site, (far, near) in slopes_of(family, direction, metric).items():
        exact = scores[site][:, -2:].reshape(-1)
        errors = [float(np.linalg.norm(slope - exact)) for slope in (far, near)]
        scale = float(np.linalg.norm(exact))
        assert_close(2 * near - far, exact, 5e-3, site)
        # Where an error is all curvature of the third order, it falls to a quarter.
        # Below this the float32 arithmetic inside the norms drowns the error.
        if errors[0] > NOISE * scale:
            assert 0.2 < errors[1] / errors[0] < 0.6, f"{site}: {errors}"


@pytest.mark.parametrize(("family", "direction", "metric"), each(SETTINGS, FEWER))
def test_scores_agree_with_finite_differences(
    case_of: CaseOf,
    slopes_of: Callable[..., dict[str, list[Array]]],
    family: str,
    direction: str,
    metric: str,
) -> None:
    """The engine's scores are the slopes measured in float64, which no gradient took part in."""
    case = case_of(family)
    slopes = slopes_of(family, direction, metric)
    [result] = case.engine.attribute([case.pairs[PAIR]], sites=case.sites, direction=direction, metric=metric)
    for site, (far, near) in slopes.items():
        assert_close(result.scores[site][:, -2:].reshape(-1), 2 * near - far, 5e-3, site)
