"""What a benchmark found: printed, and written as JSON for `report.py`."""

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Target:
    """What a ratio shall be."""

    value: float
    #: True where the ratio is a cost: less is better.
    most: bool = False

    def __str__(self) -> str:
        return f"at {'most' if self.most else 'least'} {self.value:g}"

    def met(self, value: float) -> bool:
        """Tell whether a figure is as good as it shall be."""
        return value <= self.value if self.most else value >= self.value


@dataclass(frozen=True)
class Row:
    """One comparison: each side's figure, and the ratio of the two, one a round."""

    what: str
    #: The other side's name.
    other: str
    ours: float
    theirs: float
    unit: str
    ratios: tuple[float, ...]
    target: Target | None = None

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def spread(self) -> str:
        """Write the ratio, the median of the rounds with the extremes behind it."""
        return f"{self.ratio:.3g} ({min(self.ratios):.3g} to {max(self.ratios):.3g})"

    def __str__(self) -> str:
        aim = "" if self.target is None else f", target {self.target}"
        sides = f"patchgrid {self.ours:.4g} {self.unit}, {self.other} {self.theirs:.4g} {self.unit}"
        return f"{self.what}: {sides}, ratio {self.spread}{aim}"


@dataclass
class Figures:
    """Rows as they come, and what they were measured with."""

    setting: Mapping[str, Any]
    rows: list[Row] = field(default_factory=list)
    #: Sentences for the reader, such as what was not measured.
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        print(row, flush=True)
        self.rows.append(row)

    def note(self, text: str) -> None:
        print(text, flush=True)
        self.notes.append(text)

    def write(self, path: Path | None) -> None:
        if path is not None:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Read rows back from what `Figures.write` wrote."""
    found = []
    for row in rows:
        target = None if row["target"] is None else Target(**row["target"])
        found.append(Row(**{**row, "ratios": tuple(row["ratios"]), "target": target}))
    return found


def machine() -> str:
    """Name the machine and the versions that a figure was measured with."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("patchgrid", "torch", "transformers", "nnsight")
    )
    python = f"Python {platform.python_version()}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads; {python}, {packages}"
