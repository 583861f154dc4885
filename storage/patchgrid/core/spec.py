"""A job's spec: a model, a query, and how exact patching is sampled."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from patchgrid.core.errors import SpecError
from patchgrid.core.names import ALLOCATIONS, BY_RESIDUAL, BY_SCORE, DETAILS, DTYPES, POSITIONS, check_name
from patchgrid.core.query import Query, query_settings
from patchgrid.core.settings import Setting, check_fields, setting, settings_of
from patchgrid.core.sites import WIDE_SITES

#: The share of all cells that a job patches exactly, and the cells per component, where neither is given.
SHARE, DRAWS = 0.05, 30
#: Most cells per component.
MOST_DRAWS = 1_000_000
#: The settings that say how much is patched exactly.
_BUDGET = {"exact", "exact_per_component"}


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job measures; with its pairs, this is the job's identity.

    Raises `SpecError` for settings that do not exist or do not go together.
    """

    #: Hub id or local folder.
    model: str
    #: The query.
    query: Query = field(default_factory=Query)
    #: Branch, tag or commit on the hub; None: the default branch.
    revision: str | None = setting(
        None, "Branch, tag or commit on the hub", label="Revision", default_words="the default branch"
    )
    #: Number type the model runs in.
    dtype: str = setting(
        "auto",
        "Number type that the model runs in",
        label="Number type",
        choices=DTYPES,
    )
    #: Share of all cells (pair, component) that is patched exactly; 0 for none. None: as many cells as
    #: `exact_per_component` says; without that, 0.05.
    exact: float | None = setting(
        None,
        "Share of all (pair, component) cells that is patched exactly, which estimates and verification are "
        "made from; 0 for none",
        label="Patched exactly",
        least=0,
        most=1,
        default_words=f"{SHARE:g}, and at least {DRAWS} cells per component",
    )
    #: Cells of each component that are patched exactly, on average over components, in the place of a share
    #: or beside it. None: none where a share is given; without that, 30.
    exact_per_component: int | None = setting(
        None,
        "Cells patched exactly per component, on average, in place of a share; with --exact, the larger "
        "counts. Neurons and edges are patched by share only",
        label="Patched exactly per component",
        least=0,
        most=MOST_DRAWS,
        default_words=f"{DRAWS} without --exact",
    )
    #: How the budget of exact patching is spread over components.
    allocate: str = setting(
        BY_RESIDUAL,
        "Where the cells that are patched exactly go",
        label="Patch most",
        choices=ALLOCATIONS,
    )
    #: Seed of the sample.
    seed: int = setting(0, "Seed of the sample of cells", label="Seed", least=0, most=2**63 - 1)
    #: `sum`: a component is all positions at once; `keep`: each position is a component.
    positions: str = setting(
        "sum",
        "What a component is",
        label="A component is",
        choices=POSITIONS,
    )
    #: What is kept of each pair.
    detail: str = setting(
        "pairs",
        "What is kept of each pair",
        label="Keep",
        choices=DETAILS,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        self._settle_budget()
        if not self.query.methods:
            raise SpecError("a job needs a method", "method")
        if callable(self.query.metric):
            raise SpecError(
                "a job stores its metric by name, and this metric is a function: use it in a call of the "
                "engine, or install it as a metric with a name (docs/metrics.md)",
                "metric",
            )

    def _settle_budget(self) -> None:
        """Set what was omitted of the two options of exact patching."""
        exact, draws = self.exact, self.exact_per_component
        if exact is None and draws is None:
            exact, draws = SHARE, DRAWS
        if exact is None and draws == 0:
            raise SpecError(
                "exact_per_component 0 patches nothing exactly: set 1 or more, or exact 0 for scores alone",
                "exact_per_component",
            )
        if exact == 0 and draws:
            raise SpecError(
                f"exact 0 patches nothing exactly, and exact_per_component is {draws}: omit one of them",
                "exact",
            )
        narrow = [site for site in self.query.sites if site not in WIDE_SITES]
        if exact is None and not narrow:
            raise SpecError(
                f"exact_per_component does not apply to {self.query.sites[0]}: it has too many components; "
                "set a share, such as exact 0.001",
                "exact_per_component",
            )
        object.__setattr__(self, "exact", exact)
        object.__setattr__(self, "exact_per_component", draws or 0)

    @property
    def share(self) -> float:
        """The share of all cells that is patched exactly, 0 where cells per component alone are given."""
        return self.exact or 0.0

    @property
    def patches(self) -> bool:
        """Whether cells are patched exactly with the scores."""
        return bool(self.exact or self.exact_per_component)

    def draws(self, site: str) -> int:
        """Return the cells of each of a site's components that are patched, on average; 0: by share only.

        Thirty for each of tens of thousands of components would be a million patched runs: neurons and edges
        go by share.
        """
        return 0 if site in WIDE_SITES else self.exact_per_component or 0

    @property
    def metric(self) -> str:
        """The metric's name: a job has no other."""
        assert isinstance(self.query.metric, str), "a function is refused"
        return self.query.metric

    @classmethod
    def of(cls, model: str, **values: Any) -> "JobSpec":
        """Make a spec of settings by their names: `JobSpec.of("gpt2", sites="z", method="ig", steps=10)`."""
        return cls.from_dict(values | {"model": model})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "JobSpec":
        """Make a spec of settings by their names, the model's among them."""
        mine = {"model", *(each.name for each in settings_of(cls))}
        known = ["model", *(each.name for each in job_settings())]
        for name in values:
            check_name("setting", name, known, name)
        asked = {name: value for name, value in values.items() if name not in mine}
        return cls(query=Query.of(**asked), **{name: values[name] for name in values if name in mine})

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> "JobSpec":
        """Read back what `as_dict` or `identity` wrote, now or before all of these settings were there."""
        before = {"allocate": BY_SCORE, "exact_per_component": DRAWS if values.get("exact") else 0}
        return cls.from_dict(before | dict(values))

    def changed(self, **values: Any) -> "JobSpec":
        """Return a copy with some settings changed; options that the new methods lack are dropped.

        A new budget of exact patching takes the place of the former one.
        """
        mine = {"model", *(each.name for each in settings_of(type(self)))}
        kept = mine - _BUDGET if _BUDGET & values.keys() else mine
        before = {name: getattr(self, name) for name in kept}
        query_values = {name: value for name, value in values.items() if name not in mine}
        after = before | {name: value for name, value in values.items() if name in mine}
        return JobSpec(query=Query.of(self.query, **query_values), **after)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready values: all settings, and the options of its methods."""
        mine = {each.name: getattr(self, each.name) for each in settings_of(type(self))}
        query_values = self.query.values()
        return {"model": self.model} | query_values | {"sites": list(query_values["sites"])} | mine

    def identity(self) -> dict[str, Any]:
        """Return the values that a job's key is computed from: equal questions have equal values.

        Settings that came later are omitted where they are what jobs did before, so that keys stay.
        """
        values = self.as_dict()
        if self.allocate == BY_SCORE:
            del values["allocate"]
        if self.exact_per_component == (DRAWS if self.exact else 0):
            del values["exact_per_component"]
        return values


@functools.cache
def job_settings() -> tuple[Setting, ...]:
    """List all settings of a job but its model: the query's, then the job's own."""
    return (*query_settings(), *settings_of(JobSpec))
