"""A job's spec: what is measured."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchgrid.core import names
from patchgrid.core.errors import SpecError
from patchgrid.core.query import Asked, as_names
from patchgrid.core.sites import EDGE, SITES

_DEFAULT_SITES = ("z", "mlp_out")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job measures; with its pairs, this is the job's identity."""

    #: Hub id or local folder.
    model: str
    #: Hub revision, or None for the default branch.
    revision: str | None = None
    #: Sites scored and sampled; none given: heads and MLPs, or what the methods score.
    sites: tuple[str, ...] = ()
    #: `sum`: a component is all positions at once; `keep`: each position is a component.
    positions: str = "sum"
    #: How scores are made, one way or several with commas between them. The sample is drawn by the first.
    method: str = "atp"
    #: Scalar of the last position's logits.
    metric: str = "logit_diff"
    #: `denoise` or `noise`.
    direction: str = "denoise"
    #: Share of all cells (pair, component) that is patched exactly; 0 for none.
    exact: float = 0.05
    #: Seed of the sample.
    seed: int = 0
    #: Number type the model runs in.
    dtype: str = "auto"
    #: Put a BOS token before each prompt; None: as the tokenizer does by itself.
    prepend_bos: bool | None = None
    #: What is kept of each pair.
    detail: str = "pairs"
    #: Where the activations come from that are put into the base run.
    source: str = "pair"
    #: Points of the path that `ig` and `eap-ig` average gradients over.
    steps: int = 5
    #: The path of `ig`.
    path: str = "embedding"
    #: Whether `atp*` drops gradients, too (GradDrop).
    grad_drop: bool = False
    #: Whether pairs are skipped whose clean run does not prefer the correct answers.
    only_correct: bool = False

    def __post_init__(self) -> None:
        methods = as_names(self.method)
        if not methods:
            raise SpecError(f"no method given; available: {', '.join(names.METHODS)}", "method")
        object.__setattr__(self, "method", ",".join(methods))
        default = (EDGE,) if methods[0] in names.EDGE_METHODS else _DEFAULT_SITES
        sites = as_names(self.sites) or default
        object.__setattr__(self, "sites", sites)
        self.asked.check()
        object.__setattr__(self, "sites", tuple(site for site in SITES if site in sites))
        names.check_name("detail", self.detail, names.DETAILS, "detail")
        names.check_name("positions", self.positions, names.POSITIONS, "positions")
        names.check_name("dtype", self.dtype, names.DTYPES, "dtype")
        if not 0 <= self.exact <= 1:
            raise SpecError(
                f"exact (share of cells to patch exactly) must be from 0 to 1, not {self.exact}", "exact"
            )
        if self.seed < 0 or self.seed >= 2**63:
            raise SpecError(f"seed must be a whole number from 0 to 2^63 - 1, not {self.seed}", "seed")

    @property
    def methods(self) -> tuple[str, ...]:
        """How scores are made; the sample is drawn by the first."""
        return as_names(self.method)

    @property
    def asked(self) -> Asked:
        """What is asked of the model."""
        return Asked(
            self.sites,
            self.methods,
            self.metric,
            self.direction,
            self.source,
            self.steps,
            self.path,
            self.grad_drop,
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the spec as JSON-ready values.

        Fields added after the first release are omitted at their default: a job's key is made of
        these values.
        """
        # All fields are plain: `dataclasses.asdict` would copy each, in many times the time.
        values = {name: getattr(self, name) for name in _FIELDS} | {"sites": list(self.sites)}
        return {
            name: value
            for name, value in values.items()
            if name not in _LATER or value != _LATER[name].default
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "JobSpec":
        """Read back what `as_dict` wrote."""
        return cls(**(dict(values) | {"sites": tuple(values["sites"])}))


_FIELDS = tuple(field.name for field in dataclasses.fields(JobSpec))
_LATER = {
    field.name: field
    for field in dataclasses.fields(JobSpec)
    if field.name in ("source", "steps", "path", "grad_drop", "only_correct")
}
