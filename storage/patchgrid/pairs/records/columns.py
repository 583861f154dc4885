"""User-given columns by field: `correct=country_idx`."""

from collections.abc import Iterable, Mapping

from patchgrid.core.errors import PatchgridError
from patchgrid.core.text.messages import shown, unknown
from patchgrid.pairs.records.layouts import OPTIONAL, REQUIRED

#: The fields; `correct_idx`: the column holds token ids, whatever its name.
FIELDS = (*REQUIRED, *OPTIONAL, "correct_idx", "incorrect_idx")


class ColumnsError(PatchgridError, ValueError):
    """Invalid columns: an unknown field, or a wrong format."""


def parse_columns(texts: Iterable[str]) -> dict[str, str]:
    """Read `field=column,field=column`, in one text or several; raises `ColumnsError` for anything else."""
    columns: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",")):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not (name and equals and column):
            raise ColumnsError(f"columns must be FIELD=COLUMN, separated by commas, not {shown(part)}")
        if name in columns:
            raise ColumnsError(f"columns set {name!r} twice")
        columns[name] = column
    return check_columns(columns)


def check_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Refuse unknown fields; return the rest unchanged."""
    checked = dict(columns or {})
    for problem in unknown(checked, FIELDS):
        raise ColumnsError(f"{problem}; available: {', '.join(FIELDS)}")
    for name, column in checked.items():
        if not isinstance(column, str) or not column:
            raise ColumnsError(f"the column for {name!r} must be a name, not {column!r}")
        if name.endswith("_idx") and name.removesuffix("_idx") in checked:
            raise ColumnsError(f"columns set both {name!r} and {name.removesuffix('_idx')!r}")
    answers = [[checked[key] for key in (name, f"{name}_idx") if key in checked] for name in REQUIRED]
    named = [column for answer_columns in answers for column in answer_columns]
    for column in named:
        if named.count(column) > 1:
            raise ColumnsError(f"column {column!r} cannot be two fields at once")
    return checked
