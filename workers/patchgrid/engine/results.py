"""What the engine returns for a pair."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.types import Component


@dataclass(frozen=True, slots=True)
class PairResult:
    """One pair's scores and metrics, or the reason why it has none."""

    #: By the first method, in metric units: site to float32 array `[layer, position]`, of a site with an
    #: index `[layer, position, index]`, for `edge` `[edge, position]`.
    scores: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    #: Metric of the unpatched clean run; NaN where the pair failed.
    clean_metric: float = float("nan")
    #: Metric of the unpatched corrupted run; NaN where the pair failed.
    corrupted_metric: float = float("nan")
    #: logsumexp(correct answers' logits) - logsumexp(incorrect ones') of the unpatched clean run, whatever
    #: the metric: above 0 where it prefers the correct answers; NaN where it is not known.
    clean_preference: float = float("nan")
    #: The same of the unpatched corrupted run.
    corrupted_preference: float = float("nan")
    #: The clean prompt's tokens as text, one a position.
    tokens: tuple[str, ...] = ()
    #: The corrupted prompt's tokens as text, one a position.
    corrupted_tokens: tuple[str, ...] = ()
    #: The correct answers' tokens as text, in order.
    correct_tokens: tuple[str, ...] = ()
    #: The incorrect answers' tokens as text.
    incorrect_tokens: tuple[str, ...] = ()
    #: Skipped, without scores: only pairs that the model gets right were requested.
    skipped: bool = False
    #: Why the pair could not be measured, else None.
    error: str | None = None
    #: What the user should know though the pair was measured (an answer without its leading space).
    warning: str | None = None
    #: Tokens at the start of both prompts that stand before their texts.
    prefix: int = 0
    #: Scores by each further method that was asked for: method to what `scores` is.
    others: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)
    #: Method to the seconds its scores took, a share of the batch's.
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One pair scored, and some of its components patched."""

    result: PairResult
    #: The components that were chosen.
    components: tuple[Component, ...] = ()
    #: float32 `[component]`: metric(patched run) - metric(base run).
    effects: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    #: Seconds that patching took, a share of the batch's.
    seconds: float = 0.0
    #: float32, metric units: effects of some of the patches with the base run's own activation, nudged in its
    #: last place, in place of the source's. Effects of that size cannot be told from rounding.
    rounding: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def error(self) -> str | None:
        """Why the pair could not be measured, else None."""
        if self.result.error is not None or np.isfinite(self.effects).all():
            return self.result.error
        first = self.components[int(np.flatnonzero(~np.isfinite(self.effects))[0])]
        return f"the effect of {first.name} is not finite"
