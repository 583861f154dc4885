"""Reading prompt pairs from files, and refusing bad ones with every bad line named."""

from patchgrid.pairs.columns import ColumnsError, parse_columns
from patchgrid.pairs.errors import BadLine, PairFileError
from patchgrid.pairs.pairfile import PairFile, PairSummary

__all__ = ["BadLine", "ColumnsError", "PairFile", "PairFileError", "PairSummary", "parse_columns"]
