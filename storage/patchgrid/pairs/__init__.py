"""Reading prompt pairs from files, and refusing bad ones with every bad line named."""

from patchgrid.pairs.errors import BadLine, PairFileError
from patchgrid.pairs.pairfile import PairFile, PairSummary
from patchgrid.pairs.records.columns import ColumnsError, parse_columns

__all__ = ["BadLine", "ColumnsError", "PairFile", "PairFileError", "PairSummary", "parse_columns"]
