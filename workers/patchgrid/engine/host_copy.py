"""Results on their way from the device to the host, while the next batch is already computed."""

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)


class Landing(Generic[Key]):
    """Tensors that are copied to the host; nothing waits for it until their numbers are asked for."""

    def __init__(self, tensors: Mapping[Key, Tensor]) -> None:
        self._host = {name: _copied(tensor) for name, tensor in tensors.items()}
        self._landed = [
            _after(device) for device in {each.device for each in tensors.values()} if device.type == "cuda"
        ]

    def arrays(self) -> dict[Key, NDArray[Any]]:
        """Give the numbers, waiting for them if need be."""
        for event in self._landed:
            event.synchronize()
        return {name: tensor.numpy() for name, tensor in self._host.items()}


def _copied(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.cpu()
    # Only memory that cannot be paged out is written to without the processor's help.
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def _after(device: torch.device) -> Any:
    """Give an event that comes when all that the device was told to do so far is done."""
    make: Any = torch.cuda.Event  # it has no types
    event = make()
    event.record(torch.cuda.current_stream(device))
    return event
