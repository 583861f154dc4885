"""Queries, keys and values, which the taps show as `[row, head, position, head_dim]`."""

from torch import Tensor

from patchgrid.engine.sites import base


class Access(base.Access):
    """Reads and patches `q`, `k` and `v`."""

    def slope(self, run: base.Run, layer: int, gradient: Tensor) -> Tensor:
        """Lay out the run's own positions, without those of the cache before them."""
        del layer
        return base.by_position(gradient)[:, -run.stream[0].shape[1] :]
