"""Keys and values of positions that were computed before, for forward passes that start behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True, slots=True)
class Past:
    """A run's keys and values, one of each a layer: `[row, key-value head, position, head_dim]`."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @classmethod
    def of(cls, cache: DynamicCache) -> "Past":
        """Take what a run left in its cache."""
        layers = cache.layers
        return cls(
            tuple(layer.keys.detach() for layer in layers), tuple(layer.values.detach() for layer in layers)
        )

    def cache(self, until: int, rows: Tensor | None = None, *, keep: bool = False) -> DynamicCache:
        """Make the cache of a run that starts at a position.

        Parameters
        ----------
        until
            The position that the run starts at: the keys and values before it are given.
        rows
            int64 `[row]`, for each row of the run the row here that it goes on from; None: the same rows.
        keep
            Keep what the run adds, for `Past.of`.
        """
        cache = DynamicCache()
        cache.layers = [
            _Given(keys[:, :, :until], values[:, :, :until], rows, keep=keep)
            for keys, values in zip(self.keys, self.values, strict=True)
        ]
        return cache

    @staticmethod
    def nothing() -> DynamicCache:
        """Make the cache of a run that starts at the first position and keeps its keys and values."""
        # Without the model's configuration: layers with a sliding window would keep no more than that.
        return DynamicCache()

    def rows(self, positions: Tensor) -> "Past":
        """Lay one row out anew for several rows.

        Parameters
        ----------
        positions
            int64 `[row, position]`: which position of the one row stands there.
        """

        def laid(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
            return tuple(tensor[0][:, positions.to(tensor.device)].transpose(0, 1) for tensor in tensors)

        return Past(laid(self.keys), laid(self.values))


class _Given(DynamicLayer):  # type: ignore[misc]
    """A layer of a cache that begins filled, its rows picked when they are needed and not before."""

    def __init__(self, keys: Tensor, values: Tensor, rows: Tensor | None, *, keep: bool) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._rows, self._keep = rows, keep

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Give the past with the new states behind it."""
        keys = torch.cat([self._picked(self.keys), key_states], dim=-2)
        values = torch.cat([self._picked(self.values), value_states], dim=-2)
        if self._keep:
            self.keys, self.values, self._rows = keys, values, None
        return keys, values

    def _picked(self, tensor: Tensor) -> Tensor:
        return tensor if self._rows is None else tensor[self._rows.to(tensor.device)]


@dataclass(slots=True)
class Remembered:
    """The last beginning that the prompts of a batch shared."""

    #: Its token ids.
    beginning: tuple[int, ...] = ()
    #: Its keys and values, one row.
    past: Past | None = None
