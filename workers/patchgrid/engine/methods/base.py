"""What every scoring method takes and returns."""

from collections.abc import Callable, Mapping

from torch import Tensor

from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.passes import Passes

#: From the unpatched runs of a batch to scores: site to float32 `[pair, layer, position]`, for `z`
#: `[pair, layer, position, head]`, for `edge` `[pair, edge, position]` or `[pair, edge]`, the positions being
#: those from `Passes.cut` on.
Method = Callable[[Passes], Mapping[str, Tensor]]
#: Raises `SpecError` if a model does not support the method.
Requirement = Callable[[LoadedModel], None]
