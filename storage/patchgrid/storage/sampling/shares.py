"""How much of a job is patched exactly, by site."""

from patchgrid.core.types import JobSpec
from patchgrid.estimates import expected_share


def exact_share(spec: JobSpec, site: str, *, pairs: int) -> float:
    """Return the expected share of a site's cells that a job of `pairs` pairs patches exactly."""
    return expected_share(spec.share, pairs=pairs, floor=spec.draws(site))
