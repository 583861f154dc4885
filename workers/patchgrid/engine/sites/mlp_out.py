"""What a block's MLP adds to the residual stream."""

from torch import Tensor

from patchgrid.engine.sites import base


class Access(base.Access):
    """Reads and patches `mlp_out`."""

    def at(self, run: base.Run, layer: int) -> Tensor:
        """Return what is added."""
        return run.mlp_out[layer]

    def watched(self, run: base.Run, layer: int) -> Tensor:
        """Return the block's output: what is added enters its sum, and so has its gradient."""
        return run.stream[layer + 1]

    def patch(self, copies: base.Copies, values: Tensor) -> Tensor:
        """Write the stream behind the MLP: what is before it, plus what is new."""
        added = copies.new(self.site.name, values.shape[1])
        middle = copies.middle[:, -added.shape[1] :]
        return copies.write(self.site.name, values, middle.to(added.device) + added)
