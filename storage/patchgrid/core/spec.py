"""A job's spec: a model, a query, and how exact patching is sampled."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from patchgrid.core.errors import SpecError
from patchgrid.core.names import ALLOCATIONS, BY_RESIDUAL, BY_SCORE, DETAILS, DTYPES, POSITIONS, check_name
from patchgrid.core.query import Query, query_settings
from patchgrid.core.settings import Setting, check_fields, setting, settings_of


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
    #: Share of all cells (pair, component) that is patched exactly; 0 for none.
    exact: float = setting(
        0.05,
        "Share of all (pair, component) cells that is patched exactly, which estimates and verification are "
        "made from",
        label="Patched exactly",
        least=0,
        most=1,
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
        if not self.query.methods:
            raise SpecError("a job needs a method", "method")
        if callable(self.query.metric):
            raise SpecError(
                "a job stores its metric by name, and this metric is a function: use it in a call of the "
                "engine, or install it as a metric with a name (docs/metrics.md)",
                "metric",
            )

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
        """Read back what `as_dict` wrote, also before there was `allocate`: by score, as it was then."""
        return cls.from_dict({"allocate": BY_SCORE} | dict(values))

    def changed(self, **values: Any) -> "JobSpec":
        """Return a copy with some settings changed; options that the new methods lack are dropped."""
        mine = {"model", *(each.name for each in settings_of(type(self)))}
        before = {name: getattr(self, name) for name in mine}
        query_values = {name: value for name, value in values.items() if name not in mine}
        after = before | {name: value for name, value in values.items() if name in mine}
        return JobSpec(query=Query.of(self.query, **query_values), **after)

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready values: all settings, and the options of its methods.

        A job's key is computed from these: equal questions have equal values. `allocate` is omitted where it
        is what jobs did that were submitted before it could be chosen.
        """
        mine = {each.name: getattr(self, each.name) for each in settings_of(type(self))}
        if self.allocate == BY_SCORE:
            del mine["allocate"]
        query_values = self.query.values()
        return {"model": self.model} | query_values | {"sites": list(query_values["sites"])} | mine


@functools.cache
def job_settings() -> tuple[Setting, ...]:
    """List all settings of a job but its model: the query's, then the job's own."""
    return (*query_settings(), *settings_of(JobSpec))
