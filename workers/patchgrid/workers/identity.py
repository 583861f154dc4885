"""Who a worker is, and whether it still lives."""

import os
import socket

import psutil


def worker_name() -> str:
    """Name this process: host, process id and the second it began, which no later process shares."""
    return f"{socket.gethostname()}/{os.getpid()}/{int(psutil.Process().create_time())}"


def may_be_alive(worker: str) -> bool:
    """Tell whether a worker may still live; only one of this host can be known to be dead."""
    host, _, rest = worker.partition("/")
    pid, _, began = rest.partition("/")
    if host != socket.gethostname() or not (pid.isdigit() and began.isdigit()):
        return True
    try:
        return int(psutil.Process(int(pid)).create_time()) == int(began)
    except psutil.NoSuchProcess:
        return False
