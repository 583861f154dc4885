"""The residual stream behind a block."""

from torch import Tensor

from patchgrid.engine.sites import base


class Access(base.Access):
    """Reads and patches `resid_post`."""

    def watched(self, run: base.Run, layer: int) -> Tensor:
        """Return the block's output."""
        return run.stream[layer + 1]
