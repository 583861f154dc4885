"""The residual stream before a block."""

from torch import Tensor

from patchgrid.engine.sites import base


class Access(base.Access):
    """Reads and patches `resid_pre`."""

    def watched(self, run: base.Run, layer: int) -> Tensor:
        """Return the block's input."""
        return run.stream[layer]
