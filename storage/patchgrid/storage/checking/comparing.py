"""Comparing stored sums with recomputed ones, up to rounding."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.estimates import Sums
from patchgrid.estimates.group_sums import GROUP_SUMS
from patchgrid.estimates.sums import CELL_SUMS, CROSSED, LATER_SUMS

#: Relative difference of sums of scores: these are rounded to float32 where they are stored.
_OF_SCORES = 1e-6
#: Relative difference of sums over the same numbers in another order.
_OF_CELLS = 1e-9
_COUNTS = ("m", "sure", "ww", "w_signed", "w_agree")


def differences(
    stored: Sums,
    expected: Sums,
    *,
    scores_known: bool,
    metrics: NDArray[np.float64],
    largest: Sums,
    squares: Sequence[Mapping[str, NDArray[np.float64]]] = (),
) -> Iterator[str]:
    """Name what the stored sums do not follow from; `expected` lacks scores unless `scores_known`.

    `metrics` are the pairs' clean metrics less their corrupted ones; `largest` is what each sum was after
    any of the rounds: cells weigh less from round to round, and rounding leaves a part of that. `squares` are
    the largest sums of squares of earlier methods' scores, by weight.
    """
    if stored.names != expected.names:
        yield "the job's methods"
        return
    if stored.axes != expected.axes or not _finite(stored):
        yield "the model: wrong number of components, or values that are NaN or inf"
        return
    if not np.array_equal(stored["n"], expected["n"]):
        yield "the pairs that were measured"
    if scores_known and _scores_differ(stored, expected):
        yield "the stored scores"
    if not scores_known and _impossible(stored):
        yield "any possible scores"
    if not stored.sampled:
        return
    if _differ(stored["d"], expected["d"], np.abs(metrics).sum(), _OF_CELLS):
        yield "the pairs' metrics"
    sizes = _sizes(stored, expected, largest, squares)
    if any(_differ(stored[name], expected[name], size, _OF_CELLS) for name, size in sizes.items()):
        yield "the exact rows (score, effect, inclusion or metric)"
    if _groups_differ(stored, expected, sizes, scores_known=scores_known):
        yield "the pairs' groups"


def _sizes(
    stored: Sums, expected: Sums, largest: Sums, squares: Sequence[Mapping[str, NDArray[np.float64]]]
) -> dict[str, NDArray[np.float64]]:
    """Bound the sum of the sizes of the terms of each sum over cells that was stored."""
    sizes = dict(_cell_sizes(expected))
    sizes = {name: np.maximum(sizes[name], size) for name, size in _cell_sizes(largest)}
    for place, each in enumerate(squares):
        for weight, square in each.items():
            sizes[f"{weight}{CROSSED}{place}"] = np.sqrt(square * largest[f"{weight}aa"])
    if np.isnan(stored["vuu"]).all():
        # Stored before there were these.
        sizes = {name: size for name, size in sizes.items() if name not in LATER_SUMS}
    return sizes


def _groups_differ(
    stored: Sums, expected: Sums, sizes: Mapping[str, NDArray[np.float64]], *, scores_known: bool
) -> bool:
    """Compare sums of groups, each by the size of the sum over all groups."""
    if stored.groups is None or expected.groups is None:
        return (stored.groups is None) != (expected.groups is None)
    if stored.groups.values.keys() != expected.groups.values.keys():
        return True
    bounds = {name: sizes[name] for name in GROUP_SUMS if name in sizes}
    bounds |= {"n": np.zeros_like(stored["n"]), "d": np.full_like(stored["n"], np.inf)}
    if scores_known:
        bounds["a"] = expected["abs_a"] * (_OF_SCORES / _OF_CELLS)
    found, wanted = stored.groups.stacked(stored.axes), expected.groups.stacked(stored.axes)
    return any(
        _differ(found[:, GROUP_SUMS.index(name)], wanted[:, GROUP_SUMS.index(name)], size, _OF_CELLS)
        for name, size in bounds.items()
        if np.isfinite(size).all()
    )


def _finite(sums: Sums) -> bool:
    """Return whether all sums are finite but those that were not stored once."""
    return all(
        np.isfinite(sums[name]).all() or (name in LATER_SUMS and np.isnan(sums[name]).all())
        for name in sums.names
    )


def _scores_differ(stored: Sums, expected: Sums) -> bool:
    return any(
        _differ(stored[name], expected[name], expected[size], _OF_SCORES)
        for name, size in (("a", "abs_a"), ("abs_a", "abs_a"), ("aa", "aa"))
    )


def _impossible(stored: Sums) -> bool:
    """Return whether no scores have these sums."""
    a, size, squares = stored["a"], stored["abs_a"], stored["aa"]
    slack = 1 + _OF_SCORES
    return bool((np.abs(a) > size * slack).any() or (size**2 > stored["n"] * squares * slack**2).any())


def _cell_sizes(expected: Sums) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield each sum over cells with what bounds the sum of its terms' sizes, by Cauchy and Schwarz."""
    for name in _COUNTS:
        yield name, expected[name]
    for name in ("vuu", "vvu4"):
        yield name, np.maximum(expected[name], _square(expected, "v", "r") ** (1 if name == "vuu" else 2))
    for weight in ("w", "v"):
        for one, other in itertools.combinations_with_replacement(("", "a", "d", "r"), 2):
            name = weight + one + other
            assert name in CELL_SUMS, name
            yield name, np.sqrt(_square(expected, weight, one) * _square(expected, weight, other))


def _square(sums: Sums, weight: str, factor: str) -> NDArray[np.float64]:
    return sums[weight + 2 * factor]


def _differ(
    stored: NDArray[np.float64], expected: NDArray[np.float64], size: ArrayLike, share: float
) -> bool:
    return bool((np.abs(stored - expected) > share * np.abs(size)).any())
