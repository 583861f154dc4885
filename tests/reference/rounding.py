"""How far 16-bit numbers take exact effects from those of the same weights in float32, with plain hooks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM

from patchgrid.engine import Component
from reference.patching import Reference, TokenPair
from reference.sites import places

Array = NDArray[np.float64]


class Float32Head:
    """A 16-bit model as hooks see it, whose stream, once out of the last block, is read out in float32."""

    def __init__(self, model: Any, exact: Any) -> None:
        #: The 16-bit model, and a float32 model of the same weights.
        self.model, self.exact = model, exact
        self.config = model.config

    def get_submodule(self, path: str) -> Any:
        """Return a module of the 16-bit model, for hooks."""
        return self.model.get_submodule(path)

    def __call__(self, **inputs: Any) -> Any:
        """Run the 16-bit model, and the float32 model's way from the last block's output to the logits."""
        [last, exact_last] = [
            each.get_submodule(places(each).blocks)[-1] for each in (self.model, self.exact)
        ]
        seen: list[Tensor] = []

        def keep(_module: Any, _args: Any, output: Any) -> None:
            seen.append(output[0] if isinstance(output, tuple) else output)

        def put(_module: Any, _args: Any, output: Any) -> Any:
            stream = seen[0].float()
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        handles = [last.register_forward_hook(keep), exact_last.register_forward_hook(put)]
        try:
            self.model(**inputs)
            return self.exact(**inputs)
        finally:
            for handle in handles:
                handle.remove()


def rounded(folder: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load a model's weights rounded to a number type: computing in that type, and in float32."""
    options = {"experts_implementation": "eager"}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **options).eval()
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()
    with torch.no_grad():
        for parameter, own in zip(exact.parameters(), model.parameters(), strict=True):
            parameter.copy_(own.float())
    return model, exact


def effects(
    model: Any, pairs: Sequence[TokenPair], components: Sequence[Component], metrics: Sequence[str]
) -> dict[str, Array]:
    """Patch each component of each pair by hooks, denoising: metric name to `[pair, component]`."""
    found = [Reference(model, pair, "denoise").effects(components, metrics) for pair in pairs]
    return {metric: np.stack([each[metric] for each in found]) for metric in metrics}


def median_error(found: Array, exact: Array) -> float:
    """Median error of effects, each relative to its own size; effects that are nothing are left out."""
    there = np.abs(exact) > 1e-4 * np.abs(exact).max()
    return float(np.median(np.abs(found - exact)[there] / np.abs(exact)[there]))
