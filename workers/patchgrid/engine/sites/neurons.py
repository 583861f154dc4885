"""An MLP's neurons, behind their activation: what its last projection reads."""

from torch import Tensor

from patchgrid.engine.sites import base


class Access(base.Access):
    """Reads and patches `mlp_post`."""

    def slope(self, run: base.Run, layer: int, gradient: Tensor) -> Tensor:
        """Split rows from positions: OPT's MLP sees the batch flattened."""
        del layer
        return gradient.view(len(run.stream[0]), -1, gradient.shape[-1])
