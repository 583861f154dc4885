"""How much of the effects shown is rounding, said where it matters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patchgrid.cli.screen import say
from patchgrid.storage.components import ComponentRow
from patchgrid.storage.rounding import rounding_warning

#: The floor is not worth a line where it is less than this share of the median effect shown.
_MATTERS = 1e-3


def show_rounding(rounding: Mapping[str, Any] | None, rows: Sequence[ComponentRow], unit: str) -> None:
    """Say the rounding floor, and warn where the effects of a table's rows are near it."""
    shown = (row.mean if row.estimate is None else row.estimate for row in rows)
    effects = [effect for effect in shown if effect is not None]
    if rounding is None or not effects:
        return
    if float(rounding["floor"]) > _MATTERS * float(np.median(np.abs(effects))):
        say(floor_words(rounding, unit))
    if warning := rounding_warning(rounding, effects):
        say(f"Warning: {warning}")


def floor_words(rounding: Mapping[str, Any], unit: str) -> str:
    """Write the floor: `Rounding floor: ±0.003 logit_diff for a cell (20 cells)`."""
    floor, cells = float(rounding["floor"]), int(rounding["cells"])
    return f"Rounding floor: ±{floor:.1g} {unit} for one cell, measured on {cells:,}"
