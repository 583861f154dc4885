"""Estimates from sampled exact patching: which cells to patch, what to sum, what follows from the sums.

Arrays in, arrays out: no models and no SQL.
"""

from patchgrid.estimates.allocation import allocate, pilot_share, sample_allocated, shares_on, top_up
from patchgrid.estimates.estimator import Estimates, estimate
from patchgrid.estimates.regression import lines_of
from patchgrid.estimates.rounding import Rounding
from patchgrid.estimates.sampling import (
    expected_share,
    fitted,
    pilot_rows,
    pilot_scales,
    sample,
    sample_many,
)
from patchgrid.estimates.sums import Sums
from patchgrid.estimates.task import TaskSummary, summarize_task
from patchgrid.estimates.verification.agreement import Agreement, agreement
from patchgrid.estimates.verification.mean_agreement import (
    Cells,
    MeanAgreement,
    TopAgreement,
    mean_agreement,
    top_agreement,
)

__all__ = [
    "Agreement",
    "Cells",
    "Estimates",
    "MeanAgreement",
    "Rounding",
    "Sums",
    "TaskSummary",
    "TopAgreement",
    "agreement",
    "allocate",
    "estimate",
    "expected_share",
    "fitted",
    "lines_of",
    "mean_agreement",
    "pilot_rows",
    "pilot_scales",
    "pilot_share",
    "sample",
    "sample_allocated",
    "sample_many",
    "shares_on",
    "summarize_task",
    "top_agreement",
    "top_up",
]
