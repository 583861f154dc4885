"""A job's results as plain rows, for files."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from patchgrid.storage.jobs import JobRecord

#: What can be exported, with the fields of a row in order.
FIELDS = {
    "scores": ("pair", "site", "layer", "head", "neuron", "position", "score"),
    "exact": ("pair", "site", "layer", "head", "neuron", "position", "score", "effect", "inclusion"),
    "components": (
        *("site", "layer", "head", "neuron", "position"),
        *("n", "mean", "mean_abs", "std", "estimate", "ci_low", "ci_high", "exact_n"),
    ),
    "pairs": ("pair", "state", "error", "tokens", "clean_metric", "corrupted_metric"),
}


def export_rows(session: Session, job: JobRecord, what: str) -> Iterator[dict[str, Any]]:
    """Give rows with the fields of `FIELDS[what]`, in an order that depends on nothing but the job.

    Rows come by pair, then site (as in `names.SITES`), layer, head and position; memory stays bounded. `pair`
    is the given id, else the row number. A missing value is None. Raises `NothingKept` at once for what the
    job did not keep.
    """
    raise NotImplementedError
