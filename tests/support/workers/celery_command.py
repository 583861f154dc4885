"""Celery's own command line with workers on a stand-in engine.

Usage: python celery_command.py -A patchgrid.workers.celery worker …     PAIR_SECONDS: seconds a pair takes
"""

import functools
import os
import sys

from celery.__main__ import main

from patchgrid.workers.celery import environment
from patchgrid.workers.node.worker import Worker
from patchgrid.workers.testing import load

if __name__ == "__main__":
    seconds = float(os.environ.get("PAIR_SECONDS", "0"))
    environment.Worker = functools.partial(  # type: ignore[assignment, misc]
        Worker, load=functools.partial(load, pair_seconds=seconds)
    )
    sys.argv[0] = "celery"
    main()
