"""Benchmarks: `python benchmarks/report.py` runs all, `python -m benchmarks.engine.patching` one of them."""

import sys
from pathlib import Path

# Some use the tests' servers and reference models.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
