"""A worker's device: its memory, and loading models onto it."""

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from patchgrid.workers.measuring.models import Engine, ModelKey

#: Default share of the device's memory for models; batches need the rest.
_SHARE = 0.6


class Device:
    """A CPU or GPU by its name: `auto`, `cpu`, `cuda:1`; or all GPUs: `sharded`."""

    def __init__(self, name: str) -> None:
        #: Its name.
        self.name = name

    def resolve(self) -> None:
        """Resolve `auto`; raises `SpecError` if the device is not available."""
        from patchgrid.engine.model.loading import SHARDED, pick_device

        device = pick_device(self.name)
        if self.name != SHARDED:
            self.name = str(device)

    @property
    def label(self) -> str:
        """Its name for people, with the machine's GPU number if the process sees only some GPUs."""
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        kind, _, number = self.name.partition(":")
        place = int(number) if number.isdigit() else 0
        if kind != "cuda" or place >= len(shown) or not shown[place].strip():
            return self.name
        return f"{self.name} (GPU {shown[place].strip()})"

    def load(self, key: "ModelKey") -> "Engine":
        """Load a model onto it; raises `ModelError` if that fails."""
        from patchgrid.engine import Engine

        return Engine.load(key.model, revision=key.revision, device=self.name, dtype=key.dtype)

    def used(self) -> int:
        """Return the bytes of its memory used by this process."""
        torch = self._cuda()
        if torch is not None:
            return sum(int(torch.cuda.memory_allocated(each)) for each in self._gpus(torch))
        return int(psutil.Process().memory_info().rss)

    def total(self) -> int:
        """Return the size of its memory in bytes."""
        torch = self._cuda()
        if torch is not None:
            properties = (torch.cuda.get_device_properties(each) for each in self._gpus(torch))
            return sum(int(each.total_memory) for each in properties)
        return int(psutil.virtual_memory().total)

    def limit(self) -> int:
        """Return the bytes available for models."""
        return int(_SHARE * self.total())

    def free(self) -> None:
        """Free cached memory."""
        gc.collect()
        torch = self._cuda()
        if torch is not None:
            torch.cuda.empty_cache()

    def _cuda(self) -> Any | None:
        """Return torch if this is a GPU in use; this must not allocate memory on it."""
        torch = sys.modules.get("torch")
        if torch is None or not self.name.startswith(("cuda", "sharded")):
            return None
        return torch if torch.cuda.is_initialized() else None

    def _gpus(self, torch: Any) -> list[str]:
        if self.name.startswith("cuda"):
            return [self.name]
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
