"""Batch size: tuned by measurement, and kept per model."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from patchgrid.core.errors import ArgumentError, SpecError
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.memory import is_out_of_memory

#: Padded tokens of a batch on a CPU, where larger ones are no faster (docs/decisions/0007-speed.md).
_ON_CPU = 512
#: Bounds of what is tried on other devices.
_LEAST, _MOST = 256, 65_536
#: Share of the free memory for a batch.
_SHARE = 0.7
#: Numbers that a block keeps for each token and unit of width, its graph and its sites together: half of the
#: 34 bytes of Korthikanti et al. 2022 (arXiv 2205.05198, equation 2), and what is kept for scores.
_NUMBERS = 24


class Memory(Protocol):
    """Measures the memory of a batch."""

    def begin(self) -> None:
        """Reset the peak."""

    def taken(self) -> int:
        """Return the peak memory since `begin`, in bytes."""

    def free(self) -> int:
        """Return the free memory, in bytes."""


class Budget:
    """The batch size in padded tokens.

    Without a `memory` it is fixed. With one it starts with an estimate, follows the measured memory, at most
    doubling from batch to batch, and stays below any size that ran out of memory.
    """

    def __init__(self, tokens: int, memory: Memory | None = None) -> None:
        #: Padded tokens that the next batch may have.
        self.tokens = tokens
        self._memory = memory
        self._most = _MOST

    @classmethod
    def fixed(cls, tokens: int) -> "Budget":
        """Use a fixed batch size; raises `SpecError` if it is below 1."""
        if not isinstance(tokens, int):
            raise ArgumentError(f"batch_tokens must be a whole number, not {tokens!r}", "batch_tokens")
        if tokens < 1:
            raise SpecError(f"batch_tokens must be at least 1, not {tokens}")
        return cls(tokens)

    @classmethod
    def of(cls, model: LoadedModel) -> "Budget":
        """Start for a model on its device."""
        if model.device.type != "cuda":
            return cls(_ON_CPU)
        devices = {parameter.device for parameter in model.envoy._module.parameters()}  # noqa: SLF001
        memory = CudaMemory(devices)
        layout = model.layout
        token = layout.n_layers * layout.d_model * _NUMBERS * model.dtype.itemsize
        return cls(_bounded(_SHARE * memory.free() / token, _MOST), memory)

    @contextmanager
    def batch(self, tokens: int) -> Iterator[None]:
        """Measure the memory of a batch of `tokens` padded tokens in a `with` block."""
        if self._memory is None:
            yield
            return
        self._memory.begin()
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                self._most = max(_LEAST, min(self._most, tokens // 2))
                self.tokens = min(self.tokens, self._most)
            raise
        token = max(1.0, self._memory.taken() / tokens)
        fitting = _SHARE * self._memory.free() / token
        # A small batch says little about a large one.
        self.tokens = _bounded(min(fitting, 2 * max(tokens, self.tokens)), self._most)


class CudaMemory:
    """The memory of a model's GPUs, from torch's allocator."""

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._before = dict.fromkeys(devices, 0)

    def begin(self) -> None:
        """Reset the peak."""
        for device in self._before:
            torch.cuda.reset_peak_memory_stats(device)
            self._before[device] = torch.cuda.memory_allocated(device)

    def taken(self) -> int:
        """Return the bytes above those at `begin` that were taken at once, where that was most."""
        return max(torch.cuda.max_memory_allocated(each) - before for each, before in self._before.items())

    def free(self) -> int:
        """Return the bytes that could still be taken, the device's and those the allocator holds unused."""
        return min(map(_free, self._before))


def _free(device: torch.device) -> int:
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reusable


def _bounded(tokens: float, most: int) -> int:
    return int(min(most, max(_LEAST, tokens)))
