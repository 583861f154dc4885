"""Asynchronous copies of results from the device to the host."""

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


class HostCopy(Generic[Key]):
    """Tensors being copied to the host; only `arrays` waits for the copy."""

    def __init__(self, tensors: Mapping[Key, Tensor]) -> None:
        self._host = {name: _copied(tensor) for name, tensor in tensors.items()}
        self._landed = [
            _after(device) for device in {each.device for each in tensors.values()} if device.type == "cuda"
        ]

    def arrays(self) -> dict[Key, NDArray[Any]]:
        """Return the arrays, waiting for the copy if needed."""
        for event in self._landed:
            event.synchronize()
        return {name: tensor.numpy() for name, tensor in self._host.items()}


def _copied(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.cpu()
    # Only copies to pinned memory are asynchronous.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def _after(device: torch.device) -> Any:
    """Return an event that follows all work queued on the device so far."""
    make: Any = torch.cuda.Event  # it has no types
    event = make()
    event.record(torch.cuda.current_stream(device))
    return event
