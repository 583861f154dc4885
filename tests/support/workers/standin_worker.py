"""A program that is one worker on a stand-in engine.

Usage: python standin_worker.py DATABASE_URL MODEL OPTIONS

OPTIONS are those of `WorkerSettings` as JSON, and `load_seconds`, what loading a model takes. It exits as
`patchgrid worker start` does.
"""

import json
import logging
import signal
import sys
import time
from types import FrameType

from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database
from patchgrid.workers.measuring.models import Engine, ModelKey
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.worker import Worker
from support.workers.standin import load


def main(url: str, model: str, given: str) -> int:
    """Run it; give the exit code."""
    options = json.loads(given)
    load_seconds = options.pop("load_seconds", 0.0)

    def load_stand_in(key: ModelKey) -> Engine:
        time.sleep(load_seconds)
        return load(key, batch=1)

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    with Database.open(url) as database:
        settings = WorkerSettings(**{"models": (model,), "device": "cpu", "poll": 0.05} | options)
        worker = Worker(database, settings, load=load_stand_in)

        def stop(_number: int, _frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        try:
            worker.run()
        except PatchgridError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
