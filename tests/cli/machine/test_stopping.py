"""Signals to a worker: the first, its echo, and the second."""

import os
import signal
import time

from patchgrid.cli.terminal.stopping import drain_on_signals
from support.machines.servers import wait_for


def test_a_signal_that_comes_twice_at_once_counts_once_and_a_later_one_again() -> None:
    """A cluster signals every process, and a supervisor passes on what it got."""
    heard: list[str] = []
    with drain_on_signals(lambda: heard.append("stop"), lambda: heard.append("now")):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: heard == ["stop"])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)
        assert heard == ["stop"]
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_for(lambda: heard == ["stop", "now"])
