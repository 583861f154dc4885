"""A worker's name, and whether its process is alive."""

import os
import socket

import psutil

#: Tolerance in seconds of a process' start time: clocks drift and are set.
_CLOCK = 5


def worker_name() -> str:
    """Name this process: host, process id and start time, unique among processes."""
    return f"{socket.gethostname()}/{os.getpid()}/{int(psutil.Process().create_time())}"


def may_be_alive(worker: str) -> bool:
    """Return whether a worker may be alive; only workers on this host can be known to be dead."""
    host, _, rest = worker.partition("/")
    pid, _, began = rest.partition("/")
    if host != socket.gethostname() or not (pid.isdigit() and began.isdigit()):
        return True
    try:
        process = psutil.Process(int(pid))
        ended = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return not ended and abs(int(process.create_time()) - int(began)) <= _CLOCK
    except psutil.NoSuchProcess:
        return False
