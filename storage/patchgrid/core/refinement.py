"""A refinement: a request for more exact patching of a job whose scores are known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from patchgrid.core.errors import ArgumentError, ComponentError, SpecError
from patchgrid.core.names import check_name
from patchgrid.core.sites import WIDE_SITES
from patchgrid.core.types import Component

#: Pairs of each component that a certificate patches first.
FIRST = 8
#: The kinds of refinement, by the field that says how much.
KINDS = ("exact", "top", "components", "certify")
#: How components are ranked for a certificate: by |mean effect|, or by the mean effect with its sign.
RANKINGS = ("size", "signed")
#: The settings of a certificate.
CERTIFY_SETTINGS = ("confidence", "tolerance", "max_exact", "ranking")
_TYPES = {"top": int, "certify": int} | dict.fromkeys(
    ("exact", "confidence", "tolerance", "max_exact"), (int, float)
)


@dataclass(frozen=True, slots=True)
class Refinement:
    """What to patch exactly, beyond what a job has patched. One of the first four fields is set.

    Raises `SpecError` for a request that asks for nothing, for several things, or for what cannot be.
    """

    #: Share of all cells to patch in addition, where estimates gain most.
    exact: float = 0.0
    #: Patch every pair of this many components: those with the largest |estimate|.
    top: int = 0
    #: Patch every pair of these components, by their names.
    components: tuple[str, ...] = ()
    #: Patch until it is certain which components, this many, have the largest mean effects.
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
        for name, kinds in _TYPES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ArgumentError(f"{name.replace('_', ' ')} must be a number, not {value!r}", name)
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
            values |= {name: getattr(self, name) for name in CERTIFY_SETTINGS}
        return values

    @property
    def options(self) -> str:
        """Write it as the command line takes it: `--certify top=20 --tolerance 0.1`."""
        if self.exact:
            return f"--exact +{self.exact:g}"
        if self.top:
            return f"--top {self.top}"
        if self.components:
            return f"--components {','.join(self.components)}"
        words = [f"--certify top={self.certify}"]
        for name in ("confidence", "tolerance", "max_exact"):
            value = getattr(self, name)
            if value != type(self).__dataclass_fields__[name].default:
                words.append(f"--{name.replace('_', '-')} {value:g}")
        return " ".join(words + ["--signed"] * (self.ranking == "signed"))

    def unsupported(self, sites: Iterable[str]) -> str | None:
        """Say why jobs with these sites cannot be refined so; None: they can."""
        wide = [site for site in sites if site in WIDE_SITES]
        if not self.certify or not wide:
            return None
        return (
            f"certificates are not supported for {wide[0]}: they patch {FIRST} pairs of each component; "
            "`--top N` patches the largest"
        )

    def too_small(self, pairs: int, patched: float) -> str | None:
        """Say if its budget is below the first round on `pairs` pairs and the share that is patched."""
        least = min(1.0, FIRST / max(pairs, 1)) + patched
        if not self.certify or least <= self.max_exact:
            return None
        return (
            f"a certificate patches {FIRST} pairs of each component first, with --exact {patched:g} at least "
            f"{least:.0%} of the cells of {pairs} pairs: give --max-exact {min(1.0, least):.2f} or more"
        )


def with_positions(components: Iterable[str], positions: Iterable[str]) -> tuple[str, ...]:
    """Name components at each of some positions: `a9.h6@-1`; without positions, as they are."""
    names, places = tuple(components), tuple(positions)
    at = [name for name in names if places and "@" in name]
    if at:
        raise SpecError(f"{at[0]} has a position already: leave positions out", "positions")
    return tuple(f"{name}@{place}" for name in names for place in places) if places else names


def on_submit(exact_top: int = 0, certify: int = 0, **settings: Any) -> tuple[Refinement, ...]:
    """Return what a job is submitted with: its largest components patched whole, a certificate, or both.

    `settings` are those of a certificate; without one, `SpecError`.
    """
    asked = [Refinement(top=exact_top)] if exact_top else []
    if settings and not certify:
        raise SpecError(f"{next(iter(settings)).replace('_', ' ')} is a setting of certify", "certify")
    return (*asked, Refinement(certify=certify, **settings)) if certify else tuple(asked)


def _check(holds: bool, field: str, value: object, problem: str) -> None:
    if not holds:
        raise SpecError(f"{field.replace('_', ' ')} {value} {problem}", field)
