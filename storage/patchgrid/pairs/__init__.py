"""Reading prompt pairs from files, and refusing bad ones with every bad line named."""

from patchgrid.pairs.errors import PairFileError
from patchgrid.pairs.pairfile import PairFile, PairSummary

__all__ = ["PairFile", "PairFileError", "PairSummary"]
