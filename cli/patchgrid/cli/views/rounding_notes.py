"""How much of the effects shown is rounding, said where it matters."""

from collections.abc import Mapping, Sequence
from typing import Any

from patchgrid.cli.terminal.screen import say
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.rounding import shown_rounding


def show_rounding(rounding: Mapping[str, Any] | None, rows: Sequence[ComponentRow], unit: str) -> None:
    """Say the rounding floor, and warn where the effects of a table's rows are near it."""
    shown = shown_rounding(rounding, rows, unit)
    if shown is None:
        return
    if shown["line"]:
        say(shown["line"])
    if shown["warning"]:
        say(f"Warning: {shown['warning']}")
