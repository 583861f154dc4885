"""The rounding floor of shown effects, printed where it matters."""

from collections.abc import Mapping, Sequence
from typing import Any

from patchgrid.cli.terminal.screen import say
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.rounding import shown_rounding


def show_rounding(rounding: Mapping[str, Any] | None, rows: Sequence[ComponentRow], unit: str) -> None:
    """Print the rounding floor, and warn if the effects of a table's rows are near it."""
    shown = shown_rounding(rounding, rows, unit)
    if shown is None:
        return
    if shown["line"]:
        say(shown["line"])
    if shown["warning"]:
        say(f"Warning: {shown['warning']}")
