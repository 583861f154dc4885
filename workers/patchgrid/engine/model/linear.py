"""Projections of a model, and their matrices."""

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a projection and nothing else: no adapter, no quantised weight."""
    return type(module) in (nn.Linear, Conv1D)


def matrix(module: nn.Module, width: int) -> Tensor:
    """Return the matrix `[width, output]` of a linear module with input `[..., width]`, without bias."""
    if type(module) is nn.Linear:
        return module.weight.T
    if type(module) is Conv1D:
        assert isinstance(module.weight, Tensor), "its weight is a parameter"
        return module.weight
    # Quantised weights, adapters: whatever it is, it is linear.
    parameter = next(module.parameters())
    dtype = parameter.dtype if parameter.is_floating_point() else torch.get_default_dtype()
    unit = torch.eye(width, device=parameter.device, dtype=dtype)[None]
    with torch.no_grad():
        made: Tensor = module(unit) - module(torch.zeros_like(unit[:, :1]))
    return made[0]
