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

from patchgrid.estimates.allocation import moderated

#: Sums over a component's cells that have joined the race, u the effect less its line: number, u, u², u⁴.
RACE_SUMS = ("t", "u", "uu", "u4")
#: Number of a component's cells at which its interval is made the narrowest.
BEST_AT = 40.0
#: Cells that a site's other components count as, in a component's variance.
PRIOR = 4.0
#: Cells of each component in the first round, where the job has as many pairs.
FIRST = 16
#: Fewest cells that a variance must rest on: with fewer, one or two carry most of it.
TAIL = 5.0
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

    A component whose variance rests on fewer than `TAIL` cells is patched more before it is certain.
    """
    middle, low, high, spread, thin = _intervals(racers, (1 - confidence) / len(racers.n))
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
        *(is_in & ~thin, is_out & ~thin, tied),
        active=(undecided & ~tied) | thin,
        above=float(np.max(high[~is_in], initial=-np.inf)),
    )


def next_cells(racers: Racers, standing: Standing) -> _Array:
    """Return the number of each component's cells that the next round should reach."""
    have = racers.sums[0]
    wanted = np.where(standing.active, np.maximum(have * GROWTH, have + FIRST / 2), have)
    # Nearly all of them cost little more than all, which make the mean exact.
    return np.where(wanted >= 0.8 * racers.n, np.where(standing.active, racers.n, have), wanted)


def _intervals(racers: Racers, alpha: float) -> tuple[_Array, _Array, _Array, _Array, NDArray[np.bool_]]:
    """Return mean effects, ends, standard deviations, and whose variance rests on few cells."""
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
    few = (carriers < TAIL) & (t < 4 * FIRST) & (uu > 0)
    return middle, middle - half, middle + half, spread, few & ~is_exact


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
