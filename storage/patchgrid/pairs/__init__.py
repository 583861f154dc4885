"""Reading prompt pairs from files; errors list every bad line."""

from patchgrid.pairs.errors import BadLine, PairFileError
from patchgrid.pairs.pairfile import PairFile, PairSummary
from patchgrid.pairs.records.columns import ColumnsError, parse_columns

__all__ = ["BadLine", "ColumnsError", "PairFile", "PairFileError", "PairSummary", "parse_columns"]
