"""What sampled exact patching is for: on a trained model, its estimates come near the truth and say how near.

Every effect of the demo model is computed once. Jobs of a hundred seeds then sample from them, through the
same code as any job; only the model's answers are looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchgrid.engine import Component, Engine, JobSpec, Pair, PairResult
from patchgrid.engine.calls import Choose
from patchgrid.engine.checkpoint.provenance import ModelProvenance
from patchgrid.engine.results import Measured
from patchgrid.estimates import estimate, pilot_rows
from patchgrid.pairs import PairFile
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.measuring.pilot import measure_pilot
from support.engine.cases import DEMO_PAIRS
from support.engine.models import DEMO_MODEL
from support.workers.working import job_of

PAIRS = 300
SEEDS = 100
SITES = ("z", "mlp_out")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """An engine's answers to all that a job over these pairs can ask, in the engine's place."""

    pairs: Sequence[Pair]
    results: Sequence[PairResult]
    #: Site to effects `[pair, layer(, head)]`.
    effects: dict[str, NDArray[np.float32]]
    provenance: ModelProvenance

    def attribute(self, pairs: Sequence[Pair], _query: object = None, **_: object) -> Sequence[PairResult]:
        """Look up the results of pairs."""
        return [self.results[self.pairs.index(pair)] for pair in pairs]

    def measure(self, pairs: Sequence[Pair], choose: Choose, _query: object, **_: object) -> list[Measured]:
        """Look up the results of pairs, and the effects of what is chosen."""
        results = self.attribute(pairs)
        chosen = choose(range(len(pairs)), results)
        return [self._measured(place, *each) for place, each in enumerate(zip(results, chosen, strict=True))]

    def _measured(self, pair: int, result: PairResult, chosen: Sequence[Component]) -> Measured:
        effects = [self.effects[c.site][(pair, c.layer, *_head(c))] for c in chosen]
        return Measured(result, tuple(chosen), np.array(effects, np.float32))


def _head(component: Any) -> tuple[int, ...]:
    return () if component.index is None else (component.index,)


def record(engine: Engine, pairs: Sequence[Pair]) -> Recording:
    """Compute every score and every effect."""
    layers, heads = engine.layout.n_layers, engine.layout.n_heads
    z = [Component("z", layer, head) for layer in range(layers) for head in range(heads)]
    mlp = [Component("mlp_out", layer) for layer in range(layers)]
    effects = engine.patch(pairs, [*z, *mlp])
    by_site = {
        "z": effects[:, : len(z)].reshape(len(pairs), layers, heads),
        "mlp_out": effects[:, len(z) :],
    }
    return Recording(pairs, engine.attribute(pairs, sites=SITES), by_site, engine.provenance)


@dataclass(frozen=True)
class Study:
    """Estimates of many seeds beside the truth; one entry a component in the last axis."""

    #: True mean effects.
    truth: Floats
    #: Mean scores: attribution alone.
    scores: Floats
    #: `[seed, component]`: the estimates, the ends of their intervals, and exact patching alone.
    estimates: Floats
    low: Floats
    high: Floats
    exact: Floats
    #: Share of all cells that were patched, on average.
    share: float


def study(recording: Recording, seeds: int) -> Study:
    """Work the same job off with many seeds."""
    draws = [_one_seed(recording, seed) for seed in range(seeds)]
    scores, estimates, low, high, exact = (np.stack([row[part] for row in draws]) for part in range(5))
    truth = np.concatenate([recording.effects[site].mean(axis=0, dtype=np.float64).ravel() for site in SITES])
    cells = sum(row[5] for row in draws) / seeds
    share = cells / (len(recording.pairs) * len(truth))
    return Study(truth, scores[0], estimates, low, high, exact, share)


def _one_seed(recording: Recording, seed: int) -> tuple[Floats, Floats, Floats, Floats, Floats, int]:
    job = job_of(JobSpec.of("demo", sites=SITES, seed=seed), len(recording.pairs))
    rows = pilot_rows(len(recording.pairs))
    pilot = measure_pilot(recording, job, rows, [recording.pairs[row] for row in rows])  # type: ignore[arg-type]
    chunk = measure_chunk(recording, job, 0, recording.pairs, pilot=pilot)  # type: ignore[arg-type]
    found = [estimate(chunk.sums[site, "whole"]) for site in SITES]
    parts = [
        np.concatenate([getattr(one, name).ravel() for one in found])
        for name in ("mean", "estimate", "ci_low", "ci_high")
    ]
    exact = [_exact_alone(chunk.exact, site, recording.effects[site].shape[1:]) for site in SITES]
    return parts[0], parts[1], parts[2], parts[3], np.concatenate(exact), len(chunk.exact)


def _exact_alone(cells: Sequence[Any], site: str, axes: tuple[int, ...]) -> Floats:
    """Return each component's mean effect over its sampled cells, weighted by 1 / inclusion."""
    total, weight = np.zeros(axes), np.zeros(axes)
    for cell in cells:
        if cell.site == site:
            at = (cell.layer, *_head(cell))
            total[at] += cell.effect / cell.inclusion
            weight[at] += 1 / cell.inclusion
    return (total / weight).ravel()


def rmse(errors: Floats) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(errors).mean()))


@pytest.fixture(scope="module")
def found() -> Study:
    """Return the study of the demo model's indirect-object pairs."""
    with PairFile.open(DEMO_PAIRS, limit=PAIRS) as file:
        pairs = list(file)
    engine = Engine.load(str(DEMO_MODEL), device="cpu", dtype="float32")
    return study(record(engine, pairs), SEEDS)


def test_intervals_cover_the_truth_as_often_as_they_say(found: Study) -> None:
    """Averaged over components and seeds, 95 % intervals hold 0.90 to 0.99 of the true mean effects."""
    covered = (found.low <= found.truth) & (found.truth <= found.high)
    assert 0.90 <= covered.mean() <= 0.99


def test_estimates_are_a_hundred_times_as_near_as_attribution_alone(found: Study) -> None:
    """Root mean square error over components and seeds."""
    assert rmse(found.estimates - found.truth) <= rmse(found.scores - found.truth) / 100


def test_estimates_are_four_times_as_near_as_exact_patching_alone(found: Study) -> None:
    """Against exact patching of the very same cells."""
    assert rmse(found.estimates - found.truth) <= rmse(found.exact - found.truth) / 4


def test_as_much_is_patched_as_was_asked_for(found: Study) -> None:
    """By default: a fortieth of the cells, and thirty of each component in so short a job.

    Eight of them are drawn in the pilot.
    """
    assert found.share + 8 / PAIRS == pytest.approx(0.025 + 30 / PAIRS, rel=0.05)
