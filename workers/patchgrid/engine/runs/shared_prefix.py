"""The shared prefix of a batch's prompts (few-shot examples, a template), computed once."""

from collections.abc import Sequence

import torch

from patchgrid.engine.model.kv_cache import KVCache
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.activations import RunOptions, run
from patchgrid.engine.runs.rows import Rows

#: Shortest shared prefix worth its own forward pass, in tokens.
_SHORTEST = 16


def shared_prefix_length(prompts: Sequence[tuple[int, ...]], limit: int) -> int:
    """Return the length of the shared prefix, at most `limit`; 0 if it saves nothing."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    count = min(shared, limit)
    return count if count >= _SHORTEST else 0


def prefix_kv_cache(model: LoadedModel, ids: tuple[int, ...], lengths: Sequence[int]) -> KVCache:
    """Return the KV cache of a shared prefix for left-padded rows.

    Parameters
    ----------
    ids
        The beginning's tokens: of the longest row, the first `len(ids)` padded positions.
    lengths
        Number of tokens of each row, the longest as long as the batch is wide. Of a shorter one there is less
        of the beginning before that position, and padding before it.
    """
    positions = torch.arange(len(ids)) - (max(lengths) - torch.tensor(lengths))[:, None]
    return _prefix_run(model, ids).rows(positions.clamp(min=0).to(model.device))


def _prefix_run(model: LoadedModel, ids: tuple[int, ...]) -> KVCache:
    """Compute a prefix's KV cache, or reuse the most recent one."""
    if model.prefix_cache.ids[: len(ids)] == ids and model.prefix_cache.kv_cache is not None:
        return model.prefix_cache.kv_cache
    tokens = torch.tensor([ids], device=model.device)
    positions = torch.arange(len(ids), device=model.device)[None]
    rows = Rows(tokens, torch.ones_like(tokens), positions, (0,), (0,))
    with torch.no_grad():
        done = run(model, rows, RunOptions(frozenset(), cache=KVCache.nothing(), keep_from=len(ids) - 1))
    assert done.kv_cache is not None, "a run with a cache gives its keys and values"
    model.prefix_cache.ids, model.prefix_cache.kv_cache = ids, done.kv_cache
    return done.kv_cache
