"""Checking a database: `patchgrid db check`.

Derived data is recomputed and compared: keys, counts, states, sums, sampled cells, top components. All other
data is covered by checksums.
"""

from patchgrid.storage.checking.check import CheckReport, check
from patchgrid.storage.checking.sampled import Sample

__all__ = ["CheckReport", "Sample", "check"]
