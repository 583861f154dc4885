"""Whether a database is whole: `patchgrid db check`.

What follows from other facts is worked out again and compared: keys, counts, states, sums, sampled cells, top
components. What follows from nothing else is covered by checksums.
"""

from patchgrid.storage.checking.check import CheckReport, check
from patchgrid.storage.checking.sampled import Sample

__all__ = ["CheckReport", "Sample", "check"]
