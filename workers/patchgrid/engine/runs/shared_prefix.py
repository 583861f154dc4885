"""The beginning that a batch's prompts share (a few-shot preamble, a template), computed once."""

from collections.abc import Sequence

import torch

from patchgrid.engine.model.kv_cache import Past
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.activations import Asked, run
from patchgrid.engine.runs.rows import Rows

#: Tokens from which on a shared beginning is worth a forward pass of its own.
_SHORTEST = 16


def shared_beginning(prompts: Sequence[tuple[int, ...]], limit: int) -> int:
    """Count the tokens, at most `limit`, that all prompts begin with; 0 where that saves nothing."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    count = min(shared, limit)
    return count if count >= _SHORTEST else 0


def beginning(model: LoadedModel, ids: tuple[int, ...], lengths: Sequence[int]) -> Past:
    """Give the keys and values of a shared beginning for left-padded rows.

    Parameters
    ----------
    ids
        The beginning's tokens: of the longest row, the first `len(ids)` padded positions.
    lengths
        Number of tokens of each row, the longest as long as the batch is wide. Of a shorter one there is less
        of the beginning before that position, and padding before it.
    """
    positions = torch.arange(len(ids)) - (max(lengths) - torch.tensor(lengths))[:, None]
    return _known(model, ids).rows(positions.clamp(min=0).to(model.device))


def _known(model: LoadedModel, ids: tuple[int, ...]) -> Past:
    """Compute a beginning, or find it: the last one is remembered."""
    if model.remembered.beginning[: len(ids)] == ids and model.remembered.past is not None:
        return model.remembered.past
    tokens = torch.tensor([ids], device=model.device)
    positions = torch.arange(len(ids), device=model.device)[None]
    rows = Rows(tokens, torch.ones_like(tokens), positions, (0,), (0,))
    with torch.no_grad():
        done = run(model, rows, Asked(frozenset(), cache=Past.nothing(), keep_from=len(ids) - 1))
    assert done.past is not None, "a run with a cache gives its keys and values"
    model.remembered.beginning, model.remembered.past = ids, done.past
    return done.past
