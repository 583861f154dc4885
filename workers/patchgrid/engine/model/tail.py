"""The modules between a 16-bit model's last block and its head, run in float32.

The stream that leaves the last block is good enough; the final norm's output, rounded to 16 bits again, is
not. Float32 copies of the few modules on that way (a norm, as a rule; a small projection, in some models)
run in their place, while all else there is the model's own code. The model itself stays as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import is_accelerate_available


def tail_paths(model: Any, last_block: nn.Module, head: nn.Module | None) -> tuple[str, ...] | None:
    """Return the paths of the modules between the last block and the head; None for a float32 model.

    They are found by running a few tokens: a module is meant that runs there and has weights of its own.
    """
    if model.dtype.itemsize >= torch.float32.itemsize or head is None:
        return None
    paths = {module: path for path, module in model.named_modules()}
    return tuple(paths[module] for module in _between(model, last_block, head))


def float32_copies(model: Any, paths: Sequence[str]) -> Mapping[str, nn.Module]:
    """Copy modules of a model, by their paths."""
    return {path: _copy(model.get_submodule(path)) for path in paths}


def _copy(module: nn.Module) -> nn.Module:
    made = deepcopy(module)
    if is_accelerate_available():
        from accelerate.hooks import remove_hook_from_module  # type: ignore[import-untyped]

        remove_hook_from_module(made, recurse=True)
    return made.float().requires_grad_(requires_grad=False)


def _between(model: Any, last_block: nn.Module, head: nn.Module) -> list[nn.Module]:
    """List the modules with weights that run behind the last block, and before the head."""
    called: list[nn.Module] = []
    with _listening(model, called), torch.no_grad():
        ids = torch.arange(2, device=model.get_input_embeddings().weight.device)[None]
        model(input_ids=ids, use_cache=False)
    begin, end = called.index(last_block) + 1, called.index(head)
    within = set(head.modules())
    between = [module for module in called[begin:end] if module not in within]
    return [module for module in between if any(True for _ in module.parameters(recurse=False))]


@contextmanager
def _listening(model: nn.Module, called: list[nn.Module]) -> Iterator[None]:
    def note(module: nn.Module, _args: Any, _output: Any) -> None:
        called.append(module)

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def through(copy: nn.Module, values: Tensor) -> Tensor:
    """Run a module's float32 copy on what the module was given, the same at every position."""
    device = next(copy.parameters()).device
    if values.ndim != 3:  # a model may see positions flattened
        return _run(copy, values.to(device))
    return _run(copy, values[:, -1:].to(device)).expand(-1, values.shape[1], -1)


def _run(copy: nn.Module, values: Tensor) -> Tensor:
    output: Tensor = copy(values.float())
    return output
