"""The cells that a job's later rounds patch, and the probability of each to be patched in any round."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.types import JobSpec
from patchgrid.estimates import Sums, fitted
from patchgrid.estimates.allocation import inclusion
from patchgrid.estimates.sampling import uniform
from patchgrid.storage.sampling.job_sample import JobSample
from patchgrid.storage.sampling.plans import Plan, SitePlan

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


class RoundSample:
    """The sample of a job with later rounds, given its pilot by site and the rounds' plans."""

    def __init__(
        self, spec: JobSpec, pairs: int, pilot: Mapping[str, Sums], plans: Mapping[int, Plan]
    ) -> None:
        self._spec, self._plans = spec, plans
        self._first = JobSample(spec, pairs, pilot)

    def inclusion(
        self,
        site: str,
        rows: Sequence[int],
        scores: NDArray[Any],
        present: Mask | None,
        rounds: Sequence[int],
    ) -> Floats:
        """Return the probability of each cell to be patched with the scores or in one of these later rounds.

        1 - (1 - p)(1 - q)…: rounds draw by numbers of their own, but those of a race (see `missed`).
        """
        left = np.ones(scores.shape)
        if self._spec.patches:
            left -= self._first.draw(site, rows, scores, present)[1]
        for number in sorted(rounds):
            left *= self.missed(site, scores, number, rounds)
        return 1 - left if present is None else np.where(present, 1 - left, 0.0)

    def lines(self, site: str) -> Floats | None:
        """Return the lines of `JobSample`."""
        return self._first.lines(site)

    def missed(self, site: str, scores: NDArray[Any], number: int, rounds: Sequence[int]) -> Floats:
        """Return the probability that a round does not draw a cell, given that none before it did.

        `rounds` are the later rounds that are done with the pairs. All rounds of a race draw by the same
        numbers, so that a cell which the last of them missed is drawn with a smaller chance.
        """
        part = self._plans[number].get(site)
        if part is None:
            return np.ones(scores.shape)
        left = 1 - _chances(part, scores)
        raced = [each for each in rounds if each < number and self._races(each, site)]
        if part.races and raced:
            before = 1 - _chances(self._plans[max(raced)][site], scores)
            left = np.divide(left, before, out=np.zeros(scores.shape), where=before > 0)
        return left

    def drawn(
        self,
        site: str,
        rows: Sequence[int],
        scores: NDArray[Any],
        present: Mask | None,
        rounds: Sequence[int],
        slack: float = 0.0,
    ) -> Mask:
        """Return the cells that are drawn with the scores or in one of these later rounds.

        With `slack`: if all chances were larger by this part.
        """
        mask = np.zeros(scores.shape, np.bool_)
        if self._spec.patches:
            chance = self._first.draw(site, rows, scores, present)[1]
            mask |= self._numbers(0, site, rows, scores) < chance * (1 + slack)
        for number in rounds:
            part = self._plans[number].get(site)
            if part is not None:
                chance = _chances(part, scores) * (1 + slack)
                mask |= self._numbers(part.stream, site, rows, scores) < chance
        return mask if present is None else mask & present

    def draw(
        self, site: str, rows: Sequence[int], scores: NDArray[Any], present: Mask | None, number: int
    ) -> Mask:
        """Return the cells that a round's plan names, patched before or not."""
        part = self._plans[number].get(site)
        if part is None:
            return np.zeros(scores.shape, np.bool_)
        mask = self._numbers(part.stream, site, rows, scores) < _chances(part, scores)
        return mask if present is None else mask & present

    def raced(
        self, site: str, rows: Sequence[int], scores: NDArray[Any], present: Mask | None, number: int
    ) -> Mask:
        """Return the cells that join the race in a round: those behind what earlier rounds drew."""
        joined = self.draw(site, rows, scores, present, number)
        earlier = [each for each in self._plans if each < number and self._races(each, site)]
        if earlier:
            joined &= ~self.draw(site, rows, scores, present, max(earlier))
        return joined

    def _races(self, number: int, site: str) -> bool:
        return site in self._plans[number] and self._plans[number][site].races

    def _numbers(self, stream: int, site: str, rows: Sequence[int], scores: NDArray[Any]) -> Floats:
        numbers = uniform(self._spec.seed, site, rows, math.prod(scores.shape[1:]), stream)
        return numbers.reshape(scores.shape)


def _chances(part: SitePlan, scores: NDArray[Any]) -> Floats:
    """Return the probability with which each cell `[pair, *axes]` is drawn."""
    axes = scores.shape[1:]
    shares = np.nan_to_num(fitted(part.shares, axes))
    if part.scales is None:
        return np.broadcast_to(shares, scores.shape)
    scales = fitted(part.scales, axes)
    return inclusion(scores, shares, np.where(scales > 0, scales, np.inf))
