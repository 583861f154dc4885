"""The residual stream between attention and MLP: what enters the block plus what attention adds."""

from torch import Tensor

from patchgrid.engine.sites import base


class Access(base.Access):
    """Reads and patches `resid_mid`."""

    def at(self, run: base.Run, layer: int) -> Tensor:
        """Return the sum, for the positions that attention's part is kept of."""
        added = run.attn_out[layer]
        # A model's layers may lie on several devices.
        return run.stream[layer][:, -added.shape[1] :].to(added.device) + added

    def watched(self, run: base.Run, layer: int) -> Tensor:
        """Return what attention adds: it enters the sum, and so has the sum's gradient."""
        return run.attn_out[layer]

    def patch(self, copies: base.Copies, values: Tensor) -> Tensor:
        """Write what takes the block's input to the new sum into what attention adds."""
        new = copies.new(self.site.name, values.shape[1])
        stream = copies.stream[:, -new.shape[1] :]
        return copies.write(self.site.name, values, new - stream.to(new.device))
