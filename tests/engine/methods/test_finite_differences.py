"""Scores are derivatives: small steps toward the source must agree with them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgrid.core.sites import SITES
from patchgrid.engine import Component
from reference.patching import Reference
from reference.sites import by_position
from support.engine.cases import Case, assert_close
from support.engine.models import THOROUGH, each

CaseOf = Callable[[str], Case]
Array = NDArray[np.float64]
#: The pair whose prompts differ in several tokens, the last one included.
PAIR = 4
#: Steps toward the source, each half of the one before.
STEPS = (2**-8, 2**-9)
#: Steps to both sides, for sites whose scores are small: where parts of a model are computed in float32,
#: whatever its number type, what rounding leaves of a slope is the less the larger the step.
BOTH_SIDES = (2**-6, -(2**-6), 2**-7, -(2**-7))
#: The same for ReLUs, whose kinks a small step seldom meets.
FINE = tuple(step / 16 for step in BOTH_SIDES)
CENTRAL = ("q", "k", "v", "mlp_post")
#: Relative error under which halving cannot be told from rounding.
NOISE = 5e-3
#: Of so many neurons one is moved.
EACH = {"mlp_post": 12}
SETTINGS = [("denoise", "logit_diff"), ("denoise", "kl"), ("noise", "prob_diff"), ("noise", "logprob")]
FEWER = [("denoise", "logit_diff"), ("noise", "logprob")]


@pytest.fixture(scope="module")
def slopes_of(case_of: CaseOf) -> Callable[[str, str, str], dict[str, list[Array]]]:
    """Return the float64 slopes over both steps of each site's components at the last two positions."""
    logits: dict[tuple[str, str], tuple[Reference, dict[str, list[list[Tensor]]]]] = {}

    def get(family: str, direction: str, metric_name: str) -> dict[str, list[Array]]:
        if (family, direction) not in logits:
            case = case_of(family)
            torch.set_default_dtype(torch.float64)  # XGLM makes a limit of its scores in it
            try:
                reference = Reference(case.model.double().model, case.token_pairs[PAIR], direction)
                steps = _steps(reference, case.sites)
            finally:
                torch.set_default_dtype(torch.float32)
            logits[family, direction] = (reference, steps)
        reference, by_site = logits[family, direction]
        metric = reference.metric(metric_name)
        before = float(metric(reference.base.logits.detach()))
        return {
            site: _slopes(reference, site, [[float(metric(row)) for row in rows] for rows in steps], before)
            for site, steps in by_site.items()
        }

    return get


def _steps(reference: Reference, sites: Sequence[str]) -> dict[str, list[list[Tensor]]]:
    """Run each component of each site moved by each step; logits by step and component."""
    moves = {
        site: [
            [(component, step) for component in _components(reference, site)]
            for step in (_both_sides(reference) if site in CENTRAL else STEPS)
        ]
        for site in sites
    }
    logits = iter(
        reference.patched_logits([move for steps in moves.values() for rows in steps for move in rows])
    )
    return {site: [[next(logits) for _ in rows] for rows in steps] for site, steps in moves.items()}


def _components(reference: Reference, site: str) -> list[Component]:
    """List a site's components at the last two positions."""
    named: list[dict[str, int]] = [{}]
    if SITES[site].index:
        seen = by_position(site, reference.base.activations[site, 0], reference.heads)
        named = [{"index": index} for index in range(seen.shape[1])[:: EACH.get(site, 1)]]
    return [
        Component(site, layer, position=position, **inner)
        for layer in range(reference.model.config.num_hidden_layers)
        for position in (-2, -1)
        for inner in named
    ]


def _both_sides(reference: Reference) -> tuple[float, ...]:
    return FINE if getattr(reference.model.config, "activation_function", "") == "relu" else BOTH_SIDES


def _slopes(reference: Reference, site: str, found: list[list[float]], before: float) -> list[Array]:
    """From metrics by step and component to slopes over the larger and the smaller step."""
    if site not in CENTRAL:
        return [(np.array(each) - before) / step for each, step in zip(found, STEPS, strict=True)]
    ahead, back = np.array(found[0::2]), np.array(found[1::2])
    return [
        (a - b) / (2 * step) for a, b, step in zip(ahead, back, _both_sides(reference)[0::2], strict=True)
    ]


def _limit(site: str, far: Array, near: Array) -> Array:
    """Extrapolate to no step at all."""
    return (4 * near - far) / 3 if site in CENTRAL else 2 * near - far


def _chosen(site: str, scores: Array) -> Array:
    """Return the scores of the components that `_steps` moves."""
    last = scores[:, -2:]
    return (last[..., :: EACH[site]] if site in EACH else last).reshape(-1)


@pytest.mark.parametrize(("family", "direction", "metric"), each(SETTINGS, FEWER, THOROUGH))
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
        exact = _chosen(site, scores[site])
        errors = [float(np.linalg.norm(slope - exact)) for slope in (far, near)]
        scale = float(np.linalg.norm(exact))
        assert_close(_limit(site, far, near), exact, 5e-3, site)
        if site in CENTRAL:
            continue
        # Where an error is all curvature of the third order, it falls to a quarter.
        # Below this the float32 arithmetic inside the norms drowns the error.
        if errors[0] > NOISE * scale:
            assert 0.2 < errors[1] / errors[0] < 0.6, f"{site}: {errors}"


@pytest.mark.parametrize(("family", "direction", "metric"), each(FEWER, []))
def test_scores_agree_with_finite_differences(
    case_of: CaseOf,
    slopes_of: Callable[..., dict[str, list[Array]]],
    family: str,
    direction: str,
    metric: str,
) -> None:
    """The engine's scores are the slopes measured in float64, which no gradient took part in.

    Of the other families the reference, which the engine is held to, is held to the slopes above.
    """
    case = case_of(family)
    slopes = slopes_of(family, direction, metric)
    [result] = case.engine.attribute([case.pairs[PAIR]], sites=case.sites, direction=direction, metric=metric)
    for site, (far, near) in slopes.items():
        assert_close(_chosen(site, result.scores["atp"][site]), _limit(site, far, near), 5e-3, site)
