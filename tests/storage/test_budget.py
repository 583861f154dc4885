"""The share of cells that a job patches is the one it was asked for, in short jobs and long ones."""

import numpy as np
import pytest
from numpy.typing import NDArray

from patchgrid.core.types import JobSpec
from patchgrid.estimates import Sums, pilot_rows
from patchgrid.storage.sampling.job_sample import JobSample, draw_in_pilot, patched_in_pilot

#: Components by site.
AXES = {"z": (4, 8), "mlp_out": (4,)}
Floats = NDArray[np.float64]


def made_up(pairs: int) -> dict[str, Floats]:
    """Return scores by site; components of very different size."""
    rng = np.random.default_rng(pairs)
    return {site: rng.lognormal(size=axes) * rng.normal(size=(pairs, *axes)) for site, axes in AXES.items()}


def pilot_of(spec: JobSpec, scores: dict[str, Floats]) -> tuple[dict[str, Sums], int]:
    """Measure a pilot, as workers do; return it with the number of cells patched there."""
    pairs = len(scores["z"])
    rows, pilot, patched = pilot_rows(pairs), {}, 0
    for site, values in scores.items():
        sampled = patched_in_pilot(spec, site, pairs=pairs) > 0
        sums = Sums.zeros(AXES[site], sampled=sampled)
        sums.add_pairs(values[rows], total_effects=np.ones(len(rows)))
        if sampled:
            mask, chances = draw_in_pilot(spec, site, rows, values[rows], None, pairs=pairs, pilot=sums)
            effects = 0.5 * values[rows] + np.random.default_rng(1).normal(size=mask.shape)
            _, *index = np.nonzero(mask)
            sums.add_cells(tuple(index), values[rows][mask], effects[mask], chances[mask])
            patched += int(mask.sum())
        pilot[site] = sums
    return pilot, patched


@pytest.mark.parametrize("allocate", ["residual", "score"])
@pytest.mark.parametrize("pairs", [10, 30, 100, 300, 1000])
@pytest.mark.parametrize(
    ("option", "budget"),
    [
        *(("exact", share) for share in (0.001, 0.01, 0.05, 0.2, 0.5)),
        *(("exact_per_component", draws) for draws in (2, 10, 40)),
    ],
)
def test_the_budget_is_kept(allocate: str, pairs: int, option: str, budget: float) -> None:
    """What is expected by the chances of all cells, and what is drawn, the pilot's cells among both.

    At most half of a chance goes by |score| over the pilot's mean |score|. That mean's standard error is the
    scores' own deviation, here 0.76 of it, over √64; 36 components have as many of them. Sizes of
    pairs, of which a part goes by, are capped, and chances end at 1: both take a few per cent. The draw is
    four of its standard deviations from what is expected, at most.
    """
    spec, scores = JobSpec.of("m", sites=tuple(AXES), allocate=allocate, **{option: budget}), made_up(pairs)
    pilot, in_pilot = pilot_of(spec, scores)
    sample = JobSample(spec, pairs, pilot)
    drawn, chances = 0, []
    for site, values in scores.items():
        mask, chance = sample.draw(site, range(pairs), values, None)
        drawn += int(mask.sum())
        chances.append(chance.ravel())
    p, cells = np.concatenate(chances), 36 * pairs
    share = budget if option == "exact" else min(1, budget / pairs)
    expected = p.sum() + sum(
        patched_in_pilot(spec, site, pairs=pairs) * values[0].size * len(pilot_rows(pairs))
        for site, values in scores.items()
    )
    assert expected / cells == pytest.approx(share, rel=0.02 + 4 * 0.5 * 0.76 / 8 / 6)
    deviation = np.sqrt((p * (1 - p)).sum() + in_pilot)
    assert abs(drawn + in_pilot - expected) <= 4 * deviation + 1
