"""The cells that a job patches exactly: every worker and every check draws the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.names import BY_RESIDUAL
from patchgrid.core.sites import WIDE_SITES
from patchgrid.core.types import JobSpec
from patchgrid.estimates import (
    Sums,
    allocate,
    lines_of,
    pilot_scales,
    pilot_share,
    sample_allocated,
    sample_many,
    shares_on,
)
from patchgrid.storage.sampling.shares import exact_share

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: The pilot's cells are drawn by other numbers than the job's.
_PILOT_STREAM = 1


def patched_in_pilot(spec: JobSpec, site: str, *, pairs: int) -> float:
    """Return the share of a site's pilot cells that is patched, in a job of `pairs` pairs."""
    if spec.allocate != BY_RESIDUAL or site in WIDE_SITES:
        return 0.0
    return pilot_share(exact_share(spec, site, pairs=pairs), pairs)


def draw_in_pilot(
    spec: JobSpec,
    site: str,
    rows: Sequence[int],
    scores: NDArray[Any],
    present: Mask | None,
    *,
    pairs: int,
    pilot: Sums,
) -> tuple[Mask, Floats]:
    """Choose the cells to patch in pairs of the pilot, whose scores are added up in `pilot`."""
    return sample_allocated(
        scores,
        shares=np.array(patched_in_pilot(spec, site, pairs=pairs)),
        scales=pilot_scales(pilot, scores.shape[1:]),
        seed=spec.seed,
        site=site,
        rows=rows,
        present=present,
        stream=_PILOT_STREAM,
    )


class JobSample:
    """The sample of a job of `pairs` pairs, given its pilot by site."""

    def __init__(self, spec: JobSpec, pairs: int, pilot: Mapping[str, Sums]) -> None:
        self._spec, self._pairs, self._pilot = spec, pairs, pilot
        #: The share of each component's cells, by site; without one, cells are drawn by score.
        self._shares: dict[str, Floats] = {}
        patched = {site: sums for site, sums in pilot.items() if sums.sampled}
        if patched:
            share = max(exact_share(spec, site, pairs=pairs) for site in patched)
            self._shares = allocate(patched, share=share, pairs=pairs)
        self._known: dict[tuple[str, tuple[int, ...]], tuple[Floats | None, Floats | None]] = {}

    def draw(
        self, site: str, rows: Sequence[int], scores: NDArray[Any], present: Mask | None
    ) -> tuple[Mask, Floats]:
        """Choose cells of pairs, by row number, whose scores have one shape `[pair, *axes]`.

        Returns the mask and the inclusion probabilities.
        """
        spec = self._spec
        scales, shares = self._plan(site, scores.shape[1:])
        if scales is not None and shares is not None:
            return sample_allocated(
                scores,
                shares=shares,
                scales=scales,
                seed=spec.seed,
                site=site,
                rows=rows,
                present=present,
            )
        return sample_many(
            scores,
            rate=spec.share,
            pairs=self._pairs,
            seed=spec.seed,
            site=site,
            rows=rows,
            scales=scales,
            floor=spec.draws(site),
            present=present,
        )

    def lines(self, site: str) -> Floats | None:
        """Return the lines fitted to components' cells in the pilot (see `lines_of`), None without any."""
        sums = self._pilot.get(site)
        return lines_of(sums) if sums is not None and sums.sampled else None

    def _plan(self, site: str, axes: tuple[int, ...]) -> tuple[Floats | None, Floats | None]:
        """Return the scale of each component's scores and the share of its cells, if the pilot tells them."""
        if site not in self._pilot:
            return None, None
        if (site, axes) not in self._known:
            shares = self._shares.get(site)
            if shares is not None:
                rest = exact_share(self._spec, site, pairs=self._pairs)
                shares = shares_on(shares, axes, rest)
            self._known[site, axes] = pilot_scales(self._pilot[site], axes), shares
        return self._known[site, axes]
