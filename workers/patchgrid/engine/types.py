"""The plain types that cross patchgrid's parts: no torch here."""

import dataclasses
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

from patchgrid.engine import names
from patchgrid.engine.errors import ComponentError, PairError, PatchgridError, SpecError


@dataclass(frozen=True, slots=True)
class TokenText:
    """An answer given as the text of one vocabulary entry, whatever the prompt ends with."""

    #: Text that the tokenizer turns, by itself, into exactly one token.
    text: str


#: An answer: a token id, the text that would follow the prompt, or a vocabulary entry's own text.
Answer = int | str | TokenText


@dataclass(frozen=True, slots=True)
class Pair:
    """A clean prompt, a corrupted prompt of the same token length, and the answers told apart.

    `correct` and `incorrect` may be given as one answer or several.
    """

    #: The prompt on which the model shows the behaviour.
    clean: str
    #: The prompt that differs in what the behaviour depends on.
    corrupted: str
    #: The answer or answers that fit the clean prompt.
    correct: tuple[Answer, ...]
    #: The answer or answers they are compared with.
    incorrect: tuple[Answer, ...]
    #: The name given in the input, or None: the row number stands for it.
    id: str | None = None
    #: Named token ranges `(start, stop)`, the same in both prompts, a BOS counted.
    spans: Mapping[str, tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted"):
            if not isinstance(getattr(self, name), str):
                raise PairError(f"{name} must be text, not {getattr(self, name)!r}")
        for name in ("correct", "incorrect"):
            object.__setattr__(self, name, _answers(name, getattr(self, name)))


def _answers(name: str, value: object) -> tuple[Answer, ...]:
    """Make one answer or several a tuple; numpy's whole numbers are token ids too."""
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    answers = tuple(
        answer if isinstance(answer, str | TokenText) else _whole(answer, PairError, f"{name} answer")
        for answer in several
    )
    if not answers:
        raise PairError(f"no {name} answer given")
    return answers


def _whole(value: object, error: type[PatchgridError], what: str) -> int:
    """Read a whole number, numpy's included; True and 1.0 are none."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise error(f"{what} {value!r} is not a whole number")
    return operator.index(value)


@dataclass(frozen=True, slots=True)
class Component:
    """A site, a layer, an index within it and a position; what is left out means all of it at once."""

    #: One of `names.SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Head within the layer, for `z`.
    head: int | None = None
    #: Neuron within the layer.
    neuron: int | None = None
    #: Index into the pair's own tokens (negative: from the end), several at once, or None: all.
    position: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        names.check_name("site", self.site, names.SITES)
        if self.head is not None and self.site not in names.HEAD_SITES:
            raise ComponentError(f"site {self.site!r} has no heads: leave head out, or use site 'z'")
        if self.neuron is not None:
            raise ComponentError(f"site {self.site!r} has no neurons: leave neuron out")
        object.__setattr__(self, "layer", _whole(self.layer, ComponentError, "layer"))
        if self.head is not None:
            object.__setattr__(self, "head", _whole(self.head, ComponentError, "head"))
        if self.position is not None:
            object.__setattr__(self, "position", _positions(self.position))

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`, `m5`, `resid_post3`, with `@position` behind it."""
        return short_name(self.site, self.layer, self.head, self.position)


def _positions(value: object) -> int | tuple[int, ...]:
    if not isinstance(value, Iterable):
        return _whole(value, ComponentError, "position")
    positions = tuple(_whole(one, ComponentError, "position") for one in value)
    if not positions:
        raise ComponentError("no position given: leave it out to patch all of them at once")
    return positions


def short_name(site: str, layer: int, head: int | None = None, position: object = None) -> str:
    """Write a component's short name: `a9.h6` (z), `m5` (mlp_out), `a9` (attn_out), `resid_post3`."""
    stem = {"z": "a", "attn_out": "a", "mlp_out": "m"}.get(site, site)
    head_part = "" if head is None else f".h{head}"
    position_part = "" if position is None else f"@{position}"
    return f"{stem}{layer}{head_part}{position_part}"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job measures; with its pairs, this is the job's identity."""

    #: Hub id or local folder.
    model: str
    #: Hub revision, or None for the default branch.
    revision: str | None = None
    #: Sites scored and sampled.
    sites: tuple[str, ...] = ("z", "mlp_out")
    #: `sum`: a component is all positions at once; `keep`: each position is a component.
    positions: str = "sum"
    #: How scores are made.
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

    def __post_init__(self) -> None:
        if not self.sites:
            raise SpecError("no site given: name at least one, as in --sites z,mlp_out")
        for site in self.sites:
            names.check_name("site", site, names.SITES)
        ordered = tuple(site for site in names.SITES if site in self.sites)
        object.__setattr__(self, "sites", ordered)
        names.check_name("method", self.method, names.METHODS)
        names.check_name("metric", self.metric, names.METRICS)
        names.check_name("direction", self.direction, names.DIRECTIONS)
        names.check_name("detail", self.detail, names.DETAILS)
        names.check_name("positions", self.positions, names.POSITIONS)
        names.check_name("dtype", self.dtype, names.DTYPES)
        if not 0 <= self.exact <= 1:
            raise SpecError(f"exact is the share of cells patched exactly, from 0 to 1, not {self.exact}")
        if self.seed < 0 or self.seed >= 2**63:
            raise SpecError(f"seed must be a whole number from 0 to 2^63 - 1, not {self.seed}")

    def as_dict(self) -> dict[str, Any]:
        """Give the spec as JSON-ready values."""
        return dataclasses.asdict(self) | {"sites": list(self.sites)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "JobSpec":
        """Read back what `as_dict` wrote."""
        return cls(**(dict(values) | {"sites": tuple(values["sites"])}))


_COMPONENT_NAME = re.compile(r"^(?P<stem>[a-z_]+?)(?P<layer>\d+)(\.h(?P<head>\d+))?$")


def parse_component(name: str, sites: Sequence[str] = names.SITES) -> Component:
    """Read a short name such as `a9.h6` or `m5`; `a9` alone is `attn_out`."""
    match = _COMPONENT_NAME.match(name)
    if match is None:
        raise ComponentError(f"cannot read component {name!r}: write it as a9.h6, m5 or resid_post3")
    stem, head = match["stem"], match["head"]
    site = {"a": "attn_out" if head is None else "z", "m": "mlp_out"}.get(stem, stem)
    names.check_name("site", site, sites)
    return Component(site, int(match["layer"]), None if head is None else int(head))
