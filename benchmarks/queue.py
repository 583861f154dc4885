"""How fast the queue is: `python benchmarks/queue.py --help`."""

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

if __name__ == "__main__":
    import queueing

    queueing.main()
elif __name__ == "queue":
    # Every script in this folder has it first on its path: what they ask for is the standard library's.
    _elsewhere = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
    _spec = PathFinder.find_spec(__name__, _elsewhere)
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules[__name__] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[__name__])
