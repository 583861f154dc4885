"""How much of a job is patched exactly, by site."""

from patchgrid.core.sites import WIDE_SITES
from patchgrid.core.types import JobSpec
from patchgrid.estimates import expected_share
from patchgrid.estimates.sampling import FLOOR


def floor_of(site: str) -> float:
    """Return the number of a component's own draws at a site, where its job has that many pairs.

    Thirty for each of tens of thousands of components would be a million patched runs, whatever the requested
    share: there each component has its share only, and the large ones get the rest.
    """
    return 0.0 if site in WIDE_SITES else FLOOR


def exact_share(spec: JobSpec, site: str, *, pairs: int) -> float:
    """Return the expected share of a site's cells that a job of `pairs` pairs patches exactly."""
    return expected_share(spec.exact, pairs=pairs, floor=floor_of(site))
