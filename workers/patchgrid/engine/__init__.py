"""Attribution and exact activation patching on Hugging Face models, through nnsight."""

import warnings
from typing import TYPE_CHECKING, Any

from patchgrid.core.component_sets import ComponentSet
from patchgrid.core.types import (
    Component,
    JobSpec,
    Pair,
    TextSpan,
    TokenPiece,
    TokenText,
)

if TYPE_CHECKING:
    from patchgrid.engine.engine import Engine as Engine
    from patchgrid.engine.results import PairResult as PairResult

__all__ = [
    "Component",
    "ComponentSet",
    "Engine",
    "JobSpec",
    "Pair",
    "PairResult",
    "TextSpan",
    "TokenPiece",
    "TokenText",
]


def __getattr__(name: str) -> Any:
    """Import torch only when the engine itself is asked for."""
    if name == "Engine":
        with warnings.catch_warnings():
            # Of tqdm, in a notebook without widgets: no bar of it is shown.
            warnings.filterwarnings("ignore", message="IProgress not found")
            from patchgrid.engine.engine import Engine

        return Engine
    if name == "PairResult":
        from patchgrid.engine.results import PairResult

        return PairResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
