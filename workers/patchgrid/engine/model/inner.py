"""The projections of queries, keys and values, if nothing else contributes to them.

Gradients of single heads then need not go through whole projections, of which each head has its own rows.
"""

from typing import Any

import torch
from torch import Tensor, nn

from patchgrid.engine.model.linear import is_linear


def projections(model: Any, attention: nn.Module, output: nn.Module) -> tuple[str, ...]:
    """Name, in the order in which they run, an attention's projections beside that of its output.

    None are named unless every child with a matrix is a plain projection, runs once and reads what the
    others read: adapters, quantised weights and latent attention go the long way.
    """
    candidates = {
        name: child
        for name, child in attention.named_children()
        if child is not output and any(each.ndim > 1 for each in child.parameters())
    }
    if not all(is_linear(child) for child in candidates.values()):
        return ()
    calls: list[tuple[str, Tensor]] = []
    handles = [
        child.register_forward_pre_hook(lambda _module, args, name=name: calls.append((name, args[0])))
        for name, child in candidates.items()
    ]
    try:
        _run(model)
    finally:
        for handle in handles:
            handle.remove()
    names = tuple(name for name, _ in calls)
    same = all(read is calls[0][1] for _, read in calls)
    return names if same and sorted(names) == sorted(candidates) else ()


@torch.no_grad()
def _run(model: Any) -> None:
    ids = torch.arange(2, device=model.get_input_embeddings().weight.device)[None]
    model(input_ids=ids, use_cache=False)
