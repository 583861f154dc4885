"""The KV cache of earlier positions, for forward passes that start after them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True, slots=True)
class KVCache:
    """A run's keys and values per layer: `[row, key-value head, position, head_dim]`."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @classmethod
    def of(cls, cache: DynamicCache) -> "KVCache":
        """Read a run's cache."""
        layers = cache.layers
        return cls(
            tuple(layer.keys.detach() for layer in layers), tuple(layer.values.detach() for layer in layers)
        )

    def cache(self, until: int, rows: Tensor | None = None, *, keep: bool = False) -> DynamicCache:
        """Make the cache for a run that starts at a position.

        Parameters
        ----------
        until
            The position that the run starts at: the keys and values before it are given.
        rows
            int64 `[row]`, for each row of the run, the row here that it continues; None: the same rows.
        keep
            Keep what the run adds, for `KVCache.of`.
        """
        cache = DynamicCache()
        cache.layers = [
            _PrefilledLayer(keys[:, :, :until], values[:, :, :until], rows, keep=keep)
            for keys, values in zip(self.keys, self.values, strict=True)
        ]
        return cache

    @staticmethod
    def nothing() -> DynamicCache:
        """Make an empty cache for a run that keeps its keys and values."""
        # Without the model's configuration: layers with a sliding window would keep no more than that.
        return DynamicCache()

    def rows(self, positions: Tensor) -> "KVCache":
        """Expand one row to several rows.

        Parameters
        ----------
        positions
            int64 `[row, position]`: which position of the one row stands there.
        """

        def laid(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(tensor[0][:, positions.to(tensor.device)].transpose(0, 1) for tensor in tensors)

        return KVCache(laid(self.keys), laid(self.values))


class _PrefilledLayer(DynamicLayer):  # type: ignore[misc]
    """A prefilled cache layer; its rows are selected lazily."""

    def __init__(self, keys: Tensor, values: Tensor, rows: Tensor | None, *, keep: bool) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._rows, self._keep = rows, keep

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Return the cached states followed by the new ones."""
        keys = torch.cat([self._picked(self.keys), key_states], dim=-2)
        values = torch.cat([self._picked(self.values), value_states], dim=-2)
        if self._keep:
            self.keys, self.values, self._rows = keys, values, None
        return keys, values

    def _picked(self, tensor: Tensor) -> Tensor:
        return tensor if self._rows is None else tensor[self._rows.to(tensor.device)]


@dataclass(slots=True)
class PrefixCache:
    """The most recent shared prefix of a batch's prompts."""

    #: Its token ids.
    ids: tuple[int, ...] = ()
    #: Its keys and values, one row.
    kv_cache: KVCache | None = None
