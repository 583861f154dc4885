"""Timing parts of a batch's work on the device, without synchronizing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Stopwatch:
    """Seconds by name; on a GPU between events that the device itself notes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._began: dict[str, Any] = {}
        self._ended: dict[str, Any] = {}

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Time what is done inside; each name once."""
        self._began[name] = self._now()
        yield
        self._ended[name] = self._now()

    def seconds(self) -> dict[str, float]:
        """Return what each took, waiting for the device if need be."""
        return {name: self._between(self._began[name], ended) for name, ended in self._ended.items()}

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        make: Any = torch.cuda.Event  # it has no types
        event = make(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _between(self, began: Any, ended: Any) -> float:
        if self._device.type != "cuda":
            return float(ended - began)
        ended.synchronize()
        return float(began.elapsed_time(ended)) / 1000
