"""Which components certainly have the largest mean effects: racing under confidence sequences.

Each component's cells are patched in a random order, without replacement, and its mean effect has an interval
that holds at all times at once. So one may look after every round, patch only what is still undecided, and
stop at any time: the certificate's confidence is what it says (Waudby-Smith et al. 2021, "Time-uniform
central limit theory and asymptotic confidence sequences", arXiv 2103.06476).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from patchgrid.core.refinement import FIRST
from patchgrid.estimates.moderation import PRIOR, moderated

#: Sums over a component's cells that have joined the race, u the effect less its line: number, u, u², u⁴.
RACE_SUMS = ("t", "u", "uu", "u4")
#: Number of a component's cells at which its interval is made the narrowest.
BEST_AT = 20.0
#: Share of a component's cells from which on all of them are patched.
NEARLY_ALL = 0.8
#: By how much an undecided component's cells grow from round to round.
GROWTH = 1.6

_Array = NDArray[np.float64]


def race_sums(
    index: tuple[NDArray[Any], ...],
    scores: NDArray[Any],
    effects: NDArray[Any],
    total_effects: NDArray[Any],
    lines: _Array,
) -> _Array:
    """Return `RACE_SUMS` of cells, `[sum, *axes]`.

    `lines` `[3, *axes]` are each component's level and slopes on score and total effect: u = e - a - line.
    """
    axes = lines.shape[1:]
    flat = np.ravel_multi_index(index, axes) if len(scores) else np.empty(0, np.intp)
    level, by_a, by_d = (line.ravel()[flat] for line in lines)
    u = effects - scores - level - by_a * scores - by_d * total_effects
    size = int(np.prod(axes))
    rows = [np.bincount(flat, weights, minlength=size) for weights in (np.ones_like(u), u, u**2, u**4)]
    sums: _Array = np.stack(rows).astype(np.float64).reshape(len(RACE_SUMS), *axes)
    return sums


@dataclass(frozen=True, slots=True, eq=False)
class Racers:
    """What is known of components that race, each array with an entry a component."""

    #: Pairs that have it.
    n: _Array
    #: Mean over all of these of score plus line: what is known without any patch.
    known: _Array
    #: Mean |score|.
    scales: _Array
    #: `RACE_SUMS`, `[sum, component]`.
    sums: _Array
    #: Mean effect where every pair is patched, else NaN.
    exact: _Array


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where the race stands; arrays with an entry a component, effects in metric units."""

    #: Mean effect and the ends of its confidence sequence.
    middle: _Array
    low: _Array
    high: _Array
    #: Standard deviation of what score and line do not explain, moderated.
    spread: _Array
    #: Certainly among the largest, and certainly not.
    is_in: NDArray[np.bool_]
    is_out: NDArray[np.bool_]
    #: Undecided, but as large as the boundary within the tolerance.
    tied: NDArray[np.bool_]
    #: To be patched more.
    active: NDArray[np.bool_]
    #: No component that is not certainly in is larger than this.
    above: float

    @property
    def decided(self) -> bool:
        """Whether nothing is left to patch."""
        return not self.active.any()


def stand(racers: Racers, k: int, *, confidence: float, tolerance: float, signed: bool = False) -> Standing:
    """Tell which components are certainly among the k of largest mean effect, and which are not.

    With error = (1 - confidence) / components, t cells of a component's n and s their standard deviation, its
    mean residual is known within

        f s √((t r + 1) / (t² r) · ln((t r + 1) / error²)) · √(1 - (t - 1)/n)

    at all t at once: equation 7 of arXiv 2103.06476 (r is its rho²), the last factor for drawing without
    replacement. r makes it narrowest at `BEST_AT` cells. s² is moderated toward a trend over all components.
    The sequence holds for many cells; f, the quantile of Student's t over the normal one, is for few. Its
    degrees of freedom are at most 1.5 (Σu²)² / Σu⁴, how many cells carry the variance.
    """
    middle, low, high, spread = _intervals(racers, (1 - confidence) / len(racers.n))
    if not signed:
        crossing = (low < 0) & (high > 0)
        ends = np.abs(low), np.abs(high)
        low, high = np.where(crossing, 0.0, np.minimum(*ends)), np.maximum(*ends)
    size = middle if signed else np.abs(middle)
    more = np.array([(high > each).sum() for each in low]) - (high > low)
    fewer = np.array([(low > each).sum() for each in high])
    is_in, is_out = more < k, fewer >= k
    undecided = ~(is_in | is_out)
    inside = is_in | _largest(np.where(undecided, size, -np.inf), k - int(is_in.sum()))
    margin = tolerance * float(np.sort(low)[-k]) if k <= len(low) else 0.0
    worst = float(np.max(high[~inside], initial=-np.inf))
    close = bool(worst <= float(np.min(low[inside], initial=np.inf)) + max(margin, 0.0))
    tied = undecided & close
    return Standing(
        middle,
        *(low, high, spread),
        *(is_in, is_out, tied),
        active=undecided & ~tied,
        above=float(np.max(high[~is_in], initial=-np.inf)),
    )


def first_shares(racers: Racers) -> _Array:
    """Return the share of each component's cells that the first round draws: about `FIRST` of them."""
    return np.where(np.isfinite(racers.exact), 0.0, np.minimum(1.0, FIRST / racers.n))


def next_shares(racers: Racers, standing: Standing, joined: _Array) -> _Array:
    """Return the share of each component's cells that has joined after the next round; now it is `joined`."""
    wanted = np.maximum(joined * GROWTH, joined + FIRST / 2 / racers.n)
    # Nearly all of them cost little less than all, which make the mean exact.
    wanted = np.where(wanted >= NEARLY_ALL, 1.0, wanted)
    return np.where(standing.active, wanted, joined)


def _intervals(racers: Racers, alpha: float) -> tuple[_Array, _Array, _Array, _Array]:
    """Return mean effects, the ends of their confidence sequences, and standard deviations."""
    t, u, uu, u4 = racers.sums
    is_exact, drawn = np.isfinite(racers.exact), np.maximum(t, 1)
    freedom = np.maximum(t - 1, 0)
    about = np.maximum(uu - u**2 / drawn, 0)
    variance = np.divide(about, freedom, out=np.zeros_like(about), where=freedom > 0)
    spread = np.sqrt(moderated(racers.scales, variance, freedom, PRIOR))
    carriers = np.divide(uu**2, u4, out=np.zeros_like(u4), where=u4 > 0)
    middle = np.where(is_exact, racers.exact, racers.known + u / drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        half = spread * _width(t, racers.n, alpha) * _few(np.minimum(freedom, 1.5 * carriers) + PRIOR, alpha)
    half = np.where(is_exact, 0.0, np.where(t < 2, np.inf, half))
    return middle, middle - half, middle + half, spread


def _width(t: _Array, n: _Array, alpha: float) -> _Array:
    """Return half the width of the confidence sequence for standard deviation 1."""
    log = -2 * np.log(alpha)
    rho2 = (log + np.log(log + 1)) / BEST_AT
    scale = (t * rho2 + 1) / (t**2 * rho2) * (np.log(t * rho2 + 1) + log)
    width: _Array = np.sqrt(scale * np.maximum(1 - (t - 1) / n, 0))
    return width


def _few(freedom: ArrayLike, alpha: float) -> _Array:
    ratio: _Array = special.stdtrit(freedom, 1 - alpha / 2) / special.ndtri(1 - alpha / 2)
    return ratio


def _largest(values: _Array, count: int) -> NDArray[np.bool_]:
    chosen = np.zeros(len(values), np.bool_)
    chosen[np.argsort(-values, kind="stable")[: max(count, 0)]] = True
    return chosen & np.isfinite(values)
