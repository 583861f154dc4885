"""A model loaded in a fresh process, imports included: by patchgrid and by transformers alone.

The other side is `AutoTokenizer` and `AutoModelForCausalLM.from_pretrained`. Sides take turns, and each
process tells how long it took, in seconds on the clock and of the processor, from its first line to its last.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.common import figures, shapes

#: What each process runs; the first line starts the clock, Python's own start is everybody's.
_BEGIN = "import json, sys, time; began = time.perf_counter(); "
_END = "; print(json.dumps([time.perf_counter() - began, time.process_time()]))"
_SIDES = {
    "transformers": "from transformers import AutoModelForCausalLM, AutoTokenizer; "
    "AutoTokenizer.from_pretrained(sys.argv[1]); AutoModelForCausalLM.from_pretrained(sys.argv[1])",
    "patchgrid": "from patchgrid.engine import Engine; Engine.load(sys.argv[1], device='cpu')",
}


def load(side: str, folder: str, cache: str) -> tuple[float, float]:
    """Load a model in a process of its own; give its seconds on the clock and of the processor."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + _SIDES[side] + _END, folder],
        env=os.environ | {"PATCHGRID_CACHE": cache, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    clock, processor = json.loads(done.stdout)
    return clock, processor


def measure(found: figures.Figures, folder: str, rounds: int) -> None:
    """Compare later loads, then first ones, with transformers' own."""
    with tempfile.TemporaryDirectory() as cache:
        for side in _SIDES:  # files come into memory, and checks are remembered
            load(side, folder, cache)
        later = [[load(side, folder, cache) for side in ("patchgrid", "transformers")] for _ in range(rounds)]
    first = [[load(side, folder, "none") for side in ("patchgrid", "transformers")] for _ in range(rounds)]
    for what, runs, target in (("later", later, figures.Target(1.3, most=True)), ("first", first, None)):
        for place, kind in enumerate(("on the clock", "of the processor")):
            both = [(mine[place], other[place]) for mine, other in runs]
            mine, other = (sorted(values)[len(values) // 2] for values in zip(*both, strict=True))
            ratios = tuple(one / two for one, two in both)
            row = (f"a {what} load, seconds {kind}", "transformers alone", mine, other, "s", ratios)
            found.add(figures.Row(*row, target))


@click.command(help=__doc__)
@click.option("--model", default=None, help="A model folder. [default: GPT-2-small shape, random weights]")
@click.option("--shape", default="gpt2-small", type=click.Choice(list(shapes.SHAPES)), show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "file", default=None, type=click.Path(path_type=Path))
def main(model: str | None, shape: str, rounds: int, file: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chosen = model or shapes.save_model(shape, shapes.DEMO, folder)
        found = figures.Figures({"model": Path(chosen).name if model else shape})
        measure(found, chosen, rounds)
    found.write(file)


if __name__ == "__main__":
    main()
