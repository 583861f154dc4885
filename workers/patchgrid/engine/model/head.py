"""The unembedding and the transform of logits, in float32 or float64.

Effects are small differences of large logits: where these are rounded to 16 bits, most of a difference is
rounding. So logits are never made in a model's own 16-bit numbers. Its weights stay as they are; a copy in
float32 is made of a part of the vocabulary at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from patchgrid.engine.model.linear import matrix

#: Numbers of the weight that are copied to float32 at a time (128 MiB).
_AT_ONCE = 2**25


@dataclass(frozen=True, slots=True)
class LogitTransform:
    """A model's transform of its logits: a factor, then a soft cap."""

    factor: float = 1.0
    #: Logits become cap * tanh(logits / cap).
    cap: float | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """Transform logits of any shape and number type."""
        if self.factor != 1:
            logits = logits * self.factor
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    @classmethod
    def candidates(cls, config: Any) -> "Iterator[LogitTransform]":
        """Yield what a configuration may mean, the likeliest first; the model itself tells which it is."""
        cap = getattr(config, "final_logit_softcapping", None)
        factors = {1.0: None}
        for name in ("logit_scale", "logits_scaling"):
            value = getattr(config, name, None)
            if value:
                factors |= {float(value): None, 1 / float(value): None}
        for bound in dict.fromkeys((None if cap is None else float(cap), None)):
            for factor in factors:
                yield cls(factor, bound)


@dataclass(frozen=True, slots=True)
class Head:
    """The last hidden state's projection to the vocabulary."""

    #: `[vocabulary, d_model]`, in the model's own number type.
    weight: Tensor
    #: `[vocabulary]`, or None.
    bias: Tensor | None

    @classmethod
    def of(cls, module: Any) -> "Head":
        """Read a head's weights; of one with an adapter or quantised weights, what they amount to."""
        if type(module) is nn.Linear and type(module.weight) is nn.Parameter:
            return cls(module.weight, module.bias)
        exact, width = deepcopy(module).float(), int(module.in_features)
        nothing = torch.zeros(1, width, device=next(exact.parameters()).device)
        with torch.no_grad():
            return cls(matrix(exact, width).T.float().contiguous(), exact(nothing)[0].float())

    def all(self, last: Tensor) -> Tensor:
        """Project to the whole vocabulary, in float32.

        Parameters
        ----------
        last
            `[..., d_model]`, what enters the head.

        Returns
        -------
        float32 `[..., vocabulary]`, on the head's device.
        """
        last = last.to(self.weight.device, torch.float32)
        if self.weight.dtype == torch.float32:
            return linear(last, self.weight, self.bias)
        logits: Tensor = _Projection.apply(last, self.weight)  # type: ignore[no-untyped-call]
        return logits if self.bias is None else logits + self.bias.float()

    def some(self, tokens: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Return the projection to some tokens, `[..., d_model]` to `[..., token]`, in float64.

        In float32 on a device that has no float64.
        """
        exact = torch.float32 if self.weight.device.type == "mps" else torch.float64
        entries = torch.tensor(tokens, device=self.weight.device)
        weight = self.weight[entries].to(exact)
        bias = None if self.bias is None else self.bias[entries].to(exact)
        return lambda last: linear(last.to(weight.device, exact), weight, bias)


class _Projection(torch.autograd.Function):
    """`linear` with a weight of 16 bits, computed in float32; no more than a part of the weight is copied."""

    generate_vmap_rule = True

    @staticmethod
    def forward(last: Tensor, weight: Tensor) -> Tensor:
        """Project `[..., d_model]` to `[..., vocabulary]`."""
        return torch.cat([linear(last, part.float()) for part in _parts(weight)], dim=-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the weight as it is."""
        del output
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradient of the input; the weight has none."""
        [weight] = ctx.saved_tensors
        parts = _parts(weight)
        widths = [len(part) for part in parts]
        pieces = torch.split(gradients[0], widths, dim=-1)
        return sum(piece @ part.float() for piece, part in zip(pieces, parts, strict=True)), None


def _parts(weight: Tensor) -> tuple[Tensor, ...]:
    return torch.split(weight, max(1, _AT_ONCE // weight.shape[1]))
