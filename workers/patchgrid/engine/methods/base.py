"""What every scoring method takes and returns."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from patchgrid.core.query import Query
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.passes import Passes

#: From the unpatched runs of a batch and the method's options, its class of `patchgrid.core.methods`, to
#: scores: site to float32 `[pair, layer, position]`, for `z` `[pair, layer, position, head]`, for `edge`
#: `[pair, edge, position]` or `[pair, edge]`, the positions being those from `Passes.cut` on.
Score = Callable[[Passes, Any], Mapping[str, Tensor]]
#: Raises `SpecError` where a model does not support a method of a query.
Requirement = Callable[[LoadedModel, Query, Any], None]
