"""Mean effects and their intervals, against brute force over populations whose every effect is known."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates import Estimates, Sums, estimate, pilot_rows, regression
from patchgrid.estimates.moderation import trend
from patchgrid.estimates.regression import residuals
from patchgrid.estimates.sampling import draw, inclusion

#: Samples taken of one population.
SEEDS = 300


@dataclass(frozen=True)
class Population:
    """Scores and effects of every cell, `[pair, component]`; total effects `[pair]`."""

    scores: NDArray[np.float64]
    effects: NDArray[np.float64]
    totals: NDArray[np.float64]

    def rows(self, index: NDArray[np.integer[Any]]) -> Self:
        """Take some of the pairs."""
        return type(self)(self.scores[index], self.effects[index], self.totals[index])


def heavy_tailed(pairs: int, components: int = 45, seed: int = 0) -> Population:
    """Make scores of very different size, each component's wrong by a slope, a bias and Student-t noise.

    The pairs' total effects are in every effect too, and in no score.
    """
    rng = np.random.default_rng(seed)
    scale = 0.1 * np.exp(rng.normal(0, 1.5, components))
    scores = scale * (rng.standard_t(3, (pairs, components)) + rng.normal(0, 1, components))
    bias = scale * rng.normal(0, 0.5, components)
    noise = 0.3 * scale * rng.standard_t(3, (pairs, components))
    totals = rng.normal(3, 1, pairs)
    shared = 0.3 * scale * rng.normal(size=components) * totals[:, None]
    return Population(scores, scores * rng.normal(1, 0.3, components) + bias + shared + noise, totals)


def probabilities(population: Population, *, rate: float, floor: float = 30) -> NDArray[np.float64]:
    """Return every cell's inclusion probability."""
    pairs = len(population.scores)
    scales = np.abs(population.scores[pilot_rows(pairs)]).mean(axis=0)
    return np.stack(
        [inclusion(row, rate=rate, pairs=pairs, scales=scales, floor=floor) for row in population.scores]
    )


def patch_some(population: Population, seed: int, pi: NDArray[np.float64]) -> Sums:
    """Sum a population's scores and the effects of the cells that this seed's sample holds."""
    scores, effects = population.scores, population.effects
    mask = draw(seed, "z", 0, scores.shape) < pi
    sums = Sums.zeros(scores.shape[1:], sampled=True)
    totals = np.broadcast_to(population.totals[:, None], mask.shape)
    sums.add_pairs(scores, total_effects=population.totals)
    sums.add_cells(np.nonzero(mask)[1:], scores[mask], effects[mask], pi[mask], totals[mask])
    return sums


def in_turn(population: Population, *, rate: float, floor: float = 30) -> list[Sums]:
    """Take many samples of one population."""
    pi = probabilities(population, rate=rate, floor=floor)
    return [patch_some(population, seed, pi) for seed in range(SEEDS)]


def covered(estimates: Estimates, truth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each interval holds the truth."""
    return (estimates.ci_low <= truth) & (truth <= estimates.ci_high)


@pytest.fixture(scope="module")
def population() -> Population:
    """400 pairs, 45 components."""
    return heavy_tailed(400)


@pytest.fixture(scope="module")
def samples(population: Population) -> list[Sums]:
    """300 samples of the population, of 30 uniform draws a component and 2.5 % by size."""
    return in_turn(population, rate=0.05)


def test_the_estimate_is_nearly_unbiased(population: Population, samples: list[Sums]) -> None:
    """Over all samples its mean is off by a small part of its spread; the scores are off by far more."""
    estimates = np.stack([estimate(sums).estimate for sums in samples])
    spread = estimates.std(axis=0, ddof=1)
    bias = (estimates.mean(axis=0) - population.effects.mean(axis=0)) / spread
    assert (bias**2).mean() < 0.01 + 1 / SEEDS
    assert np.abs(bias).max() < 0.35
    scores = (population.scores - population.effects).mean(axis=0) / spread
    assert np.median(np.abs(scores)) > 3


def test_it_is_nearly_unbiased_with_too_few_cells_for_a_line() -> None:
    """Five expected draws of 60, three at least: what bias there is is that of a ratio, and small."""
    population = heavy_tailed(60, seed=5)
    found = [estimate(sums) for sums in in_turn(population, rate=0.1, floor=5)]
    estimates = np.stack([np.where(each.shrunk, np.nan, each.estimate) for each in found])
    bias = np.nanmean(estimates, axis=0) - population.effects.mean(axis=0)
    bias /= np.nanstd(estimates, axis=0, ddof=1)
    assert (bias**2).mean() < 0.02
    assert np.abs(bias).max() < 0.35


def test_the_intervals_cover_the_truth_as_often_as_they_say(
    population: Population, samples: list[Sums]
) -> None:
    """95 % intervals cover 0.90 to 0.99 of the true means on average, no component below 0.8."""
    truth = population.effects.mean(axis=0)
    coverage = np.stack([covered(estimate(sums), truth) for sums in samples])
    assert 0.93 < coverage.mean() < 0.97
    assert coverage.mean(axis=0).min() > 0.8
    narrow = np.stack([covered(estimate(sums, level=0.5), truth) for sums in samples])
    assert 0.46 < narrow.mean() < 0.54


def test_the_two_together_beat_scores_alone_and_patching_alone(
    population: Population, samples: list[Sums]
) -> None:
    """Root mean square error is below half of either part's, on the same patched cells."""
    truth = population.effects.mean(axis=0)
    together = np.stack([estimate(sums).estimate for sums in samples]) - truth
    patching = np.stack([(sums["wa"] + sums["wr"]) / sums["w"] for sums in samples]) - truth
    scores = population.scores.mean(axis=0) - truth
    size = np.abs(population.scores).mean(axis=0)

    def rmse(error: NDArray[np.float64]) -> float:
        return float(np.sqrt(((error / size) ** 2).mean()))

    assert rmse(together) < rmse(patching) / 2
    assert rmse(together) < rmse(scores) / 2


def test_with_few_cells_the_variance_errs_on_the_wide_side() -> None:
    """At an effective sample of about 5 it is not below the true mean square error, nor far above."""
    population = heavy_tailed(100, seed=7)
    truth = population.effects.mean(axis=0)
    errors, variances, hits = [], [], []
    for sums in in_turn(population, rate=0.1, floor=5):
        known, size = estimate(sums), sums["w"] ** 2 / np.where(sums["m"] > 0, sums["ww"], np.nan)
        enough = (size > 1.5) & ~known.shrunk
        variances.append(np.where(enough, known.error**2, np.nan))
        errors.append(np.where(enough, known.estimate - truth, np.nan))
        hits.append(np.where(enough, covered(known, truth), np.nan))
    ratio = np.nanmean(variances, axis=0) / np.nanmean(np.square(errors), axis=0)
    assert 1.0 < np.median(ratio) < 1.4
    assert 0.94 < np.nanmean(hits) < 0.985


def test_population_intervals_cover_the_mean_of_the_source() -> None:
    """Over fresh pairs each time, they cover the mean effect of the source; the plain ones do not."""
    source = heavy_tailed(40_000, components=20, seed=3)
    truth = source.effects.mean(axis=0)
    plain, wide = [], []
    for seed in range(100):
        rows = np.random.default_rng(seed).integers(0, 40_000, 150)
        part = source.rows(rows)
        sums = patch_some(part, seed, probabilities(part, rate=0.1))
        plain.append(covered(estimate(sums), truth))
        wide.append(covered(estimate(sums, population=True), truth))
    assert 0.92 < np.mean(wide) < 0.98
    assert np.mean(plain) < 0.75


def test_a_census_gives_the_mean_effect_as_a_point(population: Population) -> None:
    """With every cell patched nothing is left to estimate."""
    known = estimate(patch_some(population, 0, probabilities(population, rate=1)))
    assert known.estimate == pytest.approx(population.effects.mean(axis=0), abs=1e-12)
    assert (known.ci_low == known.estimate).all()
    assert (known.ci_high == known.estimate).all()
    assert (known.exact_n == 400).all()


def test_a_census_of_one_pair_is_a_point_too() -> None:
    """One pair, patched, is known; of its source it tells nothing."""
    sums = Sums.zeros((1,), sampled=True)
    sums.add_pairs(np.array([[2.0]]))
    sums.add_cells((np.array([0]),), np.array([2.0]), np.array([3.0]), np.array([1.0]))
    known = estimate(sums)
    assert [known.estimate[0], known.ci_low[0], known.ci_high[0]] == [3, 3, 3]
    assert np.isnan(estimate(sums, population=True).ci_low)


def test_a_population_census_is_students_interval(population: Population) -> None:
    """With every cell patched, the interval for the source is the textbook one."""
    known = estimate(patch_some(population, 0, probabilities(population, rate=1)), population=True, level=0.9)
    textbook = stats.ttest_1samp(population.effects, 0).confidence_interval(0.9)
    np.testing.assert_allclose(known.ci_low, textbook.low)
    np.testing.assert_allclose(known.ci_high, textbook.high)


@pytest.mark.usefixtures("_not_moderated")
def test_the_estimate_is_a_weighted_regression_s_prediction(population: Population) -> None:
    """Estimate and interval against NumPy's least squares on the sampled cells themselves."""
    pi = probabilities(population, rate=0.05)
    mask = draw(3, "z", 0, population.scores.shape) < pi
    known = estimate(patch_some(population, 3, pi))
    for component in range(population.scores.shape[1]):
        picked = mask[:, component]
        a, e, d = population.scores[:, component], population.effects[:, component], population.totals
        regressors = np.stack([np.ones_like(a), a, d], axis=1)
        w = 1 / pi[picked, component]
        root = np.sqrt(w)
        slopes = np.linalg.lstsq(regressors[picked] * root[:, None], e[picked] * root, rcond=None)[0]
        assert known.estimate[component] == pytest.approx(regressors.mean(axis=0) @ slopes, rel=1e-4)
        residuals = e[picked] - regressors[picked] @ slopes
        k = w.sum() ** 2 / (w**2).sum()
        away = np.array([x.mean() - np.average(x[picked], weights=w) for x in (a, d)])
        covariance = np.cov(a[picked], d[picked], aweights=w, ddof=0)
        variance = ((1 - 1 / w) * w**2 * residuals**2).sum() / w.sum() ** 2 * (k / (k - 3)) ** 2
        variance *= 1 + away @ np.linalg.inv(covariance) @ away
        r, v = (e - a)[picked], (1 - 1 / w) * w**2
        carriers = (v * r**2).sum() ** 2 / (v**2 * r**4).sum()
        half = stats.t.ppf(0.975, min(k - 3, 1.5 * carriers)) * np.sqrt(variance)
        assert known.ci_high[component] - known.estimate[component] == pytest.approx(half, rel=1e-4)


@pytest.mark.parametrize("alike", ["scores", "totals", "both", "proportional"])
def test_a_regressor_that_tells_nothing_is_left_out(alike: str) -> None:
    """All scores equal, all total effects equal, or one in proportion to the other: no harm is done."""
    rng = np.random.default_rng(2)
    scores, totals = rng.normal(2, 1, (400, 3)), rng.normal(3, 1, 400)
    if alike in ("scores", "both"):
        scores[:] = 0.7
    if alike in ("totals", "both"):
        totals[:] = -1.3
    if alike == "proportional":
        scores = totals[:, None] * np.array([1.0, -2.0, 1e-6])
    population = Population(scores, 2 * scores + rng.normal(1, 0.1, scores.shape), totals)
    truth = population.effects.mean(axis=0)
    samples = [patch_some(population, seed, np.full(scores.shape, 0.1)) for seed in range(100)]
    hits = np.stack([covered(estimate(sums), truth) for sums in samples])
    assert 0.88 < hits.mean() < 0.99
    errors = np.stack([estimate(sums).estimate for sums in samples]) - truth
    assert np.sqrt((errors**2).mean()) < 0.03


@pytest.mark.usefixtures("_not_moderated")
def test_effects_that_follow_from_scores_and_total_effects_leave_no_error() -> None:
    """Where the effect is a line in both, a sample of a tenth gives the mean to rounding."""
    rng = np.random.default_rng(2)
    scores, totals = rng.normal(2, 1, (400, 3)), rng.normal(3, 1, 400)
    population = Population(scores, 0.4 * scores - 2 * totals[:, None] + 5, totals)
    known = estimate(patch_some(population, 1, np.full(scores.shape, 0.1)))
    assert known.estimate == pytest.approx(population.effects.mean(axis=0), abs=1e-5)
    assert (known.ci_high - known.ci_low < 1e-4).all()


@pytest.fixture
def _not_moderated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave each variance as its component's own cells give it."""
    monkeypatch.setattr(regression, "TREND", 0.0)


def test_variances_are_moderated_toward_a_trend(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a little alone, and never below their own for intervals that hold together."""
    sums = patch_some(population, 3, probabilities(population, rate=0.05))
    moderate, family = estimate(sums), estimate(sums, together=len(population.scores[0]))
    monkeypatch.setattr(regression, "TREND", 0.0)
    own = estimate(sums)
    variances, freedoms = residuals(sums)
    by_trend = trend(sums["abs_a"] / sums["n"], variances, freedoms)
    # What a component's variance is to the trend's, its squared error is to that of the trend, about.
    k, ratio = freedoms, by_trend / variances
    expected = (k + 0.15 * ratio) / (k + 0.15)
    fitted = k > 8
    found = (moderate.error / own.error) ** 2
    np.testing.assert_allclose(found[fitted], expected[fitted], rtol=0.35)
    assert (family.error >= own.error * (1 - 1e-12)).all()
    wider = (family.ci_high - family.ci_low) / (own.ci_high - own.ci_low)
    assert (wider > stats.norm.ppf(1 - 0.025 / len(wider)) / stats.norm.ppf(0.975)).all()


def test_a_component_whose_variance_few_cells_carry_is_marked() -> None:
    """Its interval has fewer degrees of freedom, too."""
    rng = np.random.default_rng(4)
    scores, totals = rng.normal(2, 1, (400, 2)), rng.normal(3, 1, 400)
    effects = scores + rng.normal(0, 0.1, scores.shape)
    effects[::40, 1] += 3
    sums = patch_some(Population(scores, effects, totals), 1, np.full(scores.shape, 0.2))
    known = estimate(sums)
    assert known.heavy.tolist() == [False, True]
    half = (known.ci_high - known.ci_low) / 2
    quantiles = half / known.error
    assert quantiles[0] == pytest.approx(stats.t.ppf(0.975, 40), rel=0.03)
    assert quantiles[1] > 2.4


@pytest.mark.usefixtures("_not_moderated")
def test_the_interval_is_the_written_formula() -> None:
    """Worked out by hand for three sampled cells of ten, too few for a line."""
    a, e, pi = np.array([1.0, 2.0, -1.0]), np.array([1.5, 1.0, -3.0]), np.array([0.5, 0.25, 1.0])
    sums = Sums.zeros((1,), sampled=True)
    sums.add_pairs(np.concatenate([a, np.full(7, 0.5)])[:, None])
    sums.add_cells((np.zeros(3, np.int64),), a, e, pi)
    mean_r = (2 * 0.5 + 4 * -1 + 1 * -2) / 7
    kish = 49 / 21
    variance = (0.5 * 4 * (0.5 - mean_r) ** 2 + 0.75 * 16 * (-1 - mean_r) ** 2) / 49
    variance *= (kish / (kish - 1)) ** 2
    known = estimate(sums)
    assert known.estimate[0] == pytest.approx(0.55 + mean_r)
    half = stats.t.ppf(0.975, kish - 1) * np.sqrt(variance)
    assert known.ci_high[0] - known.estimate[0] == pytest.approx(half)
    mean_e = (2 * 1.5 + 4 * 1 + 1 * -3) / 7
    spread = (2 * (1.5 - mean_e) ** 2 + 4 * (1 - mean_e) ** 2 + (-3 - mean_e) ** 2) / 7 * kish / (kish - 1)
    wide = estimate(sums, population=True)
    freedom = (variance + spread / 10) ** 2 / ((variance**2 + (spread / 10) ** 2) / (kish - 1))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance + spread / 10)
    assert wide.ci_high[0] - wide.estimate[0] == pytest.approx(half)


def test_a_sample_that_says_nothing_of_the_rest_gives_no_interval() -> None:
    """One cell alone, or certain cells alone with others unsampled: an estimate without an interval."""
    sums = Sums.zeros((3,), sampled=True)
    sums.add_pairs(np.ones((5, 3)))
    index, inclusion = np.array([0, 1, 1]), np.array([0.3, 1.0, 1.0])
    sums.add_cells((index,), np.ones(3), np.full(3, 2.0), inclusion)
    for known in (estimate(sums), estimate(sums, population=True)):
        assert known.estimate[:2] == pytest.approx([2, 2])
        assert np.isnan(known.ci_low).all()
        assert np.isnan(known.ci_high).all()
        assert known.exact_n.tolist() == [1, 2, 0]
        assert np.isnan(known.estimate[2])


def test_scores_alone_give_means_and_no_estimates() -> None:
    """Mean, mean of the absolute value and standard deviation are the textbook ones."""
    scores = np.random.default_rng(0).normal(5, 2, (50, 2, 3))
    sums = Sums.zeros((2, 3), sampled=False)
    sums.add_pairs(scores)
    known = estimate(sums)
    np.testing.assert_allclose(known.mean, scores.mean(axis=0))
    np.testing.assert_allclose(known.mean_abs, np.abs(scores).mean(axis=0))
    np.testing.assert_allclose(known.std, scores.std(axis=0, ddof=1))
    assert known.n.dtype == np.int64
    assert (known.exact_n == 0).all()
    assert np.isnan(known.estimate).all()
    assert np.isnan(known.ci_low).all()


def test_components_without_pairs_or_with_one_are_unknown_without_a_warning() -> None:
    """No pair: no mean. One pair: no spread."""
    sums = Sums.zeros((2,), sampled=True)
    sums.add_pairs(np.array([[3.0, 0.0]]), np.array([[True, False]]))
    known = estimate(sums, population=True)
    assert known.n.tolist() == [1, 0]
    assert known.mean[0] == 3
    assert np.isnan(known.mean[1])
    assert np.isnan(known.std).all()
    assert np.isnan(known.estimate).all()
