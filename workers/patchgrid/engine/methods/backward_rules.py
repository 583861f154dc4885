"""Backward rules for a model's norms, activations and gates; forward values do not change.

The rules of layer-wise relevance propagation as arXiv 2508.21258, table 1, has them for transformers. They
are found by what modules do, not by their names: `rule_modules.py`.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Rule(Protocol):
    """A change to how gradients flow through one module."""

    def apply(self) -> None:
        """Make the change, inside a trace, as the forward pass reaches the module."""


def instead(gradient_of: Tensor, value: Tensor) -> Tensor:
    """Return one tensor's values with another's gradient."""
    result: Tensor = _Instead.apply(gradient_of, value)  # type: ignore[no-untyped-call]
    return result


class _Instead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient_of: Tensor, value: Tensor) -> Tensor:
        """Return `value`, which no gradient reaches."""
        del ctx, gradient_of
        return value.view_as(value)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradient to `gradient_of`."""
        return gradients[0], None


@dataclass(frozen=True, slots=True)
class Norm:
    """A norm's scale is taken for constant (LN-rule; Ali et al. 2022, arXiv 2202.07304).

    The norm is gain * moved * scale + bias, `moved` being its input, without its mean where `centred`.
    """

    #: nnsight handle.
    module: Any
    gain: Tensor
    bias: Tensor
    centred: bool

    def apply(self) -> None:
        """See `Rule`."""
        inputs, output = self.module.input, self.module.output
        self.module.output = instead(self.linear(inputs, output), output)

    def linear(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the norm's output as a linear function of its input, with the scale that it has here."""
        moved = inputs.float()
        if self.centred:
            moved = moved - moved.mean(-1, keepdim=True)
        moved = moved * self.gain
        with torch.no_grad():
            product = ((output.float() - self.bias) * moved).sum(-1, keepdim=True)
            scale = product / moved.square().sum(-1, keepdim=True).clamp(min=1e-30)
        return (moved * scale + self.bias).to(output.dtype)


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation is its input times a constant, act(x) / x (identity rule; Jafari et al. 2024)."""

    #: nnsight handle.
    module: Any
    #: What act(x) / x tends to at 0.
    at_zero: float

    def apply(self) -> None:
        """See `Rule`."""
        inputs, output = self.module.input, self.module.output
        self.module.output = instead(self.linear(inputs, output), output)

    def linear(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Return the activation's output as a linear function of its input."""
        with torch.no_grad():
            zero = inputs == 0
            ratio = torch.where(zero, self.at_zero, output.float() / inputs.float().masked_fill(zero, 1.0))
        return (inputs.float() * ratio).to(output.dtype)


@dataclass(frozen=True, slots=True)
class Gate:
    """A product of two halves each one's gradient (half rule; Arras et al. 2019)."""

    #: nnsight handle of the module that the product enters.
    reader: Any

    def apply(self) -> None:
        """See `Rule`."""
        product = self.reader.input
        self.reader.input = instead(product / 2, product)


@dataclass(frozen=True, slots=True)
class Rules:
    """A model's rules, in the order in which a forward pass reaches their modules."""

    in_order: tuple[Rule, ...]

    def apply(self) -> None:
        """Apply all of them, inside a trace."""
        for rule in self.in_order:
            rule.apply()
