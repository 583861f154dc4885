"""A refinement: a request for more exact patching of a job whose scores are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchgrid.core.errors import ComponentError, SpecError
from patchgrid.core.names import check_name
from patchgrid.core.types import Component

#: The kinds of refinement, by the field that says how much.
KINDS = ("exact", "top", "components", "certify")
#: How components are ranked for a certificate: by |mean effect|, or by the mean effect with its sign.
RANKINGS = ("size", "signed")


@dataclass(frozen=True, slots=True)
class Refinement:
    """What to patch exactly, beyond what a job has patched. One of the first four fields is set.

    Raises `SpecError` for a request that asks for nothing, for several things, or for what cannot be.
    """

    #: Share of all cells to patch in addition, where estimates gain most.
    exact: float = 0.0
    #: Patch every pair of so many components: those of largest |estimate|.
    top: int = 0
    #: Patch every pair of these components, by their names.
    components: tuple[str, ...] = ()
    #: Patch until it is certain which are the so many components of largest mean effect.
    certify: int = 0
    #: Probability with which a certificate holds, at least.
    confidence: float = 0.95
    #: Components whose effects differ by less than this part of the k-th largest need not be distinguished.
    tolerance: float = 0.05
    #: A certificate ends where this share of the job's cells is patched.
    max_exact: float = 0.3
    #: How a certificate ranks components.
    ranking: str = "size"

    def __post_init__(self) -> None:
        asked = [kind for kind in KINDS if getattr(self, kind)]
        if len(asked) != 1:
            options = "--exact, --top, --components or --certify"
            raise SpecError(f"a refinement takes one of {options}; {len(asked)} given", "refinement")
        _check(0 <= self.exact <= 1, "exact", self.exact, "is not a share (0 to 1)")
        _check(self.top >= 0, "top", self.top, "is not a number of components (1 or more)")
        _check(self.certify >= 0, "certify", self.certify, "is not a number of components (1 or more)")
        _check(0.5 <= self.confidence < 1, "confidence", self.confidence, "is not between 0.5 and 1")
        _check(0 <= self.tolerance < 1, "tolerance", self.tolerance, "is not a share (0 to 1)")
        _check(0 < self.max_exact <= 1, "max_exact", self.max_exact, "is not a share (above 0, up to 1)")
        check_name("ranking", self.ranking, RANKINGS, "ranking")
        for name in self.components:
            try:
                Component.parse(name.partition("@")[0])
            except ComponentError as error:
                raise SpecError(str(error), "components") from error

    @property
    def kind(self) -> str:
        """Which of the four it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Refinement":
        """Read back what `as_dict` wrote."""
        return cls(**{**values, "components": tuple(values.get("components", ()))})

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values: what was asked for, and the settings of its kind."""
        values: dict[str, Any] = {self.kind: getattr(self, self.kind)}
        if self.components:
            values["components"] = list(self.components)
        if self.certify:
            names = ("confidence", "tolerance", "max_exact", "ranking")
            values |= {name: getattr(self, name) for name in names}
        return values


def _check(holds: bool, field: str, value: object, problem: str) -> None:
    if not holds:
        raise SpecError(f"{field.replace('_', ' ')} {value} {problem}", field)
