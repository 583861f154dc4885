"""Finding a model's norms, activations and gated products by what they compute on a prompt."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from patchgrid.engine.checks.self_check import some_tokens
from patchgrid.engine.methods.backward_rules import Activation, Gate, Norm, Rule, Rules
from patchgrid.engine.model.loading import LoadedModel

#: Largest relative error of a rule's output: this, or this many roundings.
_ALLOWED, _ROUNDINGS = 1e-3, 16
#: An activation's own parameters are a number or two.
_FEW = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Called:
    """One call of a module that took one tensor."""

    module: Any
    inputs: Tensor
    output: Any
    #: It has no modules in it.
    leaf: bool


def find_rules(model: LoadedModel) -> Rules:
    """Run a few tokens through a model, and find the modules from the first block on that need a rule."""
    module = model.envoy._module  # noqa: SLF001 (the torch module itself: no trace is under way)
    calls = _calls(model, module)
    handles = {id(handle._module): handle for handle in model.envoy.modules()}  # noqa: SLF001
    allowed = max(_ALLOWED, _ROUNDINGS * torch.finfo(model.dtype).eps)
    with torch.no_grad():
        return Rules(tuple(_rules(calls, handles, allowed)))


def _rules(calls: Sequence[_Called], handles: Mapping[int, Any], allowed: float) -> Iterator[Rule]:
    gates: set[int] = set()
    for place, call in enumerate(calls):
        handle = handles.get(id(call.module))
        if place in gates:
            yield Gate(handle)
        if not call.leaf or handle is None or not isinstance(call.output, Tensor):
            continue
        if (at_zero := _slope_at_zero(call)) is not None:
            yield Activation(handle, at_zero)
            gate = _gate(calls, place)
            gates |= set() if gate is None else {gate}
        elif norm := _norm(call, handle, allowed):
            yield norm


def _gate(calls: Sequence[_Called], place: int) -> int | None:
    """Find the call that takes an activation's output multiplied by something: new, and of its size."""
    output = calls[place].output
    for later in range(place + 1, len(calls)):
        inputs = calls[later].inputs
        if inputs.shape[-1] != output.shape[-1] or inputs.numel() != output.numel():
            continue
        if torch.equal(inputs.flatten(), output.flatten()):
            return None
        before = (each for call in calls[:later] for each in (call.inputs, call.output))
        if not any(
            isinstance(each, Tensor)
            and each.numel() == inputs.numel()
            and torch.equal(each.flatten(), inputs.flatten())
            for each in before
        ):
            return later
    return None


def _slope_at_zero(call: _Called) -> float | None:
    """Return act(x) / x near 0 where a module is an activation: each entry by itself, not linear, 0 at 0."""
    if sum(parameter.numel() for parameter in call.module.parameters()) > _FEW:
        return None
    probe = torch.linspace(-3, 3, 13).to(call.inputs)
    with suppress(Exception):
        whole, part = call.module(probe), call.module(probe[:5])
        if not isinstance(whole, Tensor) or whole.shape != probe.shape or not torch.equal(whole[:5], part):
            return None
        linear = torch.equal(whole, -whole.flip(0)) and torch.equal(call.module(2 * probe), 2 * whole)
        if linear or float(whole[6].abs()) > 1e-6:
            return None
        near = torch.tensor([-1e-2, 1e-2]).to(call.inputs)
        return float((call.module(near).float() / near.float()).mean())
    return None


def _norm(call: _Called, handle: Any, allowed: float) -> Norm | None:
    """Describe a module as a norm, if it is one: what it gives hardly changes with its input's size."""
    inputs, output = call.inputs, call.output
    if inputs.shape != output.shape or inputs.ndim < 2:
        return None
    kept = inputs.shape[-2:] if inputs.ndim == 4 else inputs.shape[-1:]
    signs = 1 - 2 * (torch.arange(inputs.shape[-1]) % 2)
    probe = signs.expand(*(1,) * (inputs.ndim - len(kept)), *kept).to(inputs)
    with suppress(Exception):
        at_zero, once, larger = (call.module(probe * size).float() for size in (0, 1, 4))
        size = float((once - at_zero).abs().max())
        if not size or float((larger - once).abs().max()) > 1e-2 * size:
            return None
        gain, bias = _of_entries((once - at_zero) / probe.float()), _of_entries(at_zero)
        fits = [Norm(handle, gain, bias, centred) for centred in (False, True)]
        errors = [_error(norm.linear(inputs, output), output) for norm in fits]
        return fits[errors.index(min(errors))] if min(errors) <= allowed else None
    return None


def _of_entries(values: Tensor) -> Tensor:
    """Drop the leading axes, and the one before the last where nothing depends on it."""
    values = values.flatten(0, -2) if values.ndim > 1 else values[None]
    return values[0] if bool((values == values[:1]).all()) else values


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).float().norm() / expected.float().norm().clamp(min=1e-30))


def _calls(model: LoadedModel, module: Any) -> list[_Called]:
    """Run a few tokens; list the calls from the first block on, in the order in which they began."""
    calls: list[_Called | None] = []
    first = model.layout.blocks[0].layer._module  # noqa: SLF001
    tokens = torch.tensor([some_tokens(model)], device=model.device)
    with _listening(module, first, calls), torch.no_grad():
        module(input_ids=tokens, use_cache=False)
    return [call for call in calls if call is not None]


@contextmanager
def _listening(module: Any, first: Any, calls: list[_Called | None]) -> Iterator[None]:
    began: list[int] = []

    def before(called: Any, *_: Any) -> None:
        if calls or called is first:
            began.append(len(calls))
            calls.append(None)

    def after(called: Any, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if not began:
            return
        place = began.pop()
        tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        if tensors:
            leaf = not any(called.children()) and len(tensors) == 1
            kept = output.clone() if isinstance(output, Tensor) else output
            calls[place] = _Called(called, tensors[0].clone(), kept, leaf)

    handles = [each.register_forward_pre_hook(before) for each in module.modules()]
    handles += [each.register_forward_hook(after, with_kwargs=True) for each in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
