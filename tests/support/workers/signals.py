"""Signals as a person's terminal sends them, whatever started the tests."""

import signal

_SENT_BY_TESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def stop_passing_on_ignored_signals() -> None:
    """Have processes that this one starts take signals that it ignores itself (`nohup`, a job in background).

    An ignored signal stays ignored in what a process starts; one with a handler is reset to its default.
    """
    for number in _SENT_BY_TESTS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
