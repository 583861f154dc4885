"""The stand-in engine with more kinds of trouble: what a pair's clean prompt says happens as it is measured.

EXIT ends the process, SEGFAULT crashes it, MEMORY runs out of the host's memory; the rest is the stand-in's.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence

from patchgrid.core.types import Pair
from patchgrid.workers.measuring.models import ModelKey
from support.workers.standin import StandIn, load


def load_stand_in(pair_seconds: float) -> Callable[[ModelKey], StandIn]:
    """Give a loader of stand-ins that take so many seconds for a pair."""

    def begin(pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            make_trouble(pair.clean.split())
        if pair_seconds:
            time.sleep(pair_seconds * len(pairs))

    return lambda key: load(key, on_begin=begin)


def make_trouble(words: Sequence[str]) -> None:
    """Do what one of the words says."""
    if "EXIT" in words:
        os._exit(3)
    if "SEGFAULT" in words:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    if "MEMORY" in words:
        raise MemoryError
