"""Tests that send signals do so however the tests were started."""

import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).parent
#: Under `nohup`, and in the background of a script, these are ignored.
_SCRIPT = """
import signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
show = "from signal import *; print(*(getsignal(n) == SIG_IGN for n in (SIGINT, SIGHUP)))"
subprocess.run([sys.executable, "-c", show], check=True)
sys.path.insert(0, {tests!r})
import conftest
subprocess.run([sys.executable, "-c", show], check=True)
signal.raise_signal(signal.SIGHUP)
"""


def test_a_child_takes_signals_that_the_tests_themselves_ignore() -> None:
    """Before, it ignores what its parent's parent ignored, and waits without end for a Ctrl-C."""
    script = _SCRIPT.format(tests=str(_TESTS))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False", "False"]
