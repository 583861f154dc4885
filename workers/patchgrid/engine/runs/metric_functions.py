"""Metrics given as functions in Python: called with one pair's logits at a time, and their values checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgrid.core.errors import SpecError
from patchgrid.core.query import MetricFunction
from patchgrid.engine.runs.memory import is_out_of_memory
from patchgrid.engine.tokenization.tokens import TokenPair


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """A function of one pair's logits and its token ids, applied to a batch."""

    function: MetricFunction
    #: The batch's pairs.
    pairs: Sequence[TokenPair]

    def measure(self, logits: Tensor, places: Tensor | None) -> Tensor:
        """Apply the function pair by pair.

        Parameters
        ----------
        logits
            float32 `[row, vocabulary]`.
        places
            int64 `[row]`, each row's pair; None: one row a pair.

        Returns
        -------
        `[row]`, of the logits' number type.
        """
        of_rows = list(range(len(logits))) if places is None else places.tolist()
        rows: dict[int, list[int]] = {}
        for row, place in enumerate(of_rows):
            rows.setdefault(place, []).append(row)
        values = [self._of_pair(logits[mine], self.pairs[place]) for place, mine in rows.items()]
        order = torch.tensor([row for mine in rows.values() for row in mine], device=logits.device)
        return torch.cat(values)[order.argsort()]

    def _of_pair(self, logits: Tensor, pair: TokenPair) -> Tensor:
        try:
            value = self.function(logits, pair)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise self._wrong(f"raised {type(error).__name__}: {error}") from error
        if not isinstance(value, Tensor) or value.shape != (len(logits),):
            actual = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise self._wrong(
                f"must return a tensor [{len(logits)}], one value a row of the logits; it returned {actual}"
            )
        if not value.is_floating_point():
            raise self._wrong(f"must return floating point numbers; it returned {value.dtype}")
        if logits.requires_grad and not value.requires_grad:
            raise self._wrong("cannot be differentiated: its value does not depend on the logits")
        return value.to(logits)

    def _wrong(self, what: str) -> SpecError:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return SpecError(f"the metric {name} {what}", "metric")
