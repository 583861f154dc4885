"""Peak memory of attribution above the loaded model, patchgrid against the floor, each in a fresh process.

On a CPU the peak is what the process held in RAM, set back before the measured run (on Linux), less what it
held after one pair had been measured, which brings the weights in. On a GPU it is what torch allocated. Both
sides have batches of the same size.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import click
import numpy as np
import torch

from benchmarks.common import figures, shapes, timing
from benchmarks.common.floor import Floor
from benchmarks.common.options import Setting, benchmark
from benchmarks.common.ours import SITES, embedding_scores
from patchgrid.engine import Engine, Pair

#: Pairs whose numbers are compared.
_COMPARED = 8
#: Takes pairs; gives `[pair, 3]` where it is one to be compared.
Work = Callable[[Sequence[Pair]], np.ndarray]


def sides(name: str, folder: str, device: str, batch_tokens: int) -> tuple[Callable[..., object], Work]:
    """Load one side's model; give what is measured and what is compared."""
    if name == "floor":
        floor = Floor.load(folder, batch_tokens)
        floor.model.to(device)
        return (lambda pairs: floor.attribute(floor.prepare(pairs)),) * 2
    engine = Engine.load(folder, device=device, dtype="float32")
    return (
        lambda pairs: engine.attribute(pairs, sites=SITES, batch_tokens=batch_tokens),
        lambda pairs: embedding_scores(engine, pairs, batch_tokens),
    )


def measure_here(name: str, setting: Setting, device: str, batch_tokens: int) -> None:
    """Be one side; print the peak in MB and the numbers to compare."""
    pairs = setting.pairs()
    work, compared = sides(name, setting.folder, device, batch_tokens)
    work(pairs[:1])
    before = start_peak(device)
    work(pairs)
    peak = (read_peak(device) - before) / 1e6
    print(json.dumps({"peak": peak, "numbers": compared(pairs[:_COMPARED]).tolist()}))


def start_peak(device: str) -> float:
    """Forget the peak so far; give the bytes held now."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if platform.system() != "Linux":
        return read_peak(device)  # which cannot be set back: what is found is too small, if it is wrong
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return read_peak(device)


def read_peak(device: str) -> float:
    """Return the peak bytes since."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    if platform.system() != "Linux":
        return getrusage(RUSAGE_SELF).ru_maxrss
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * float(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measure_there(name: str, setting: Setting, device: str, batch_tokens: int) -> tuple[float, np.ndarray]:
    """Have a process of its own be one side."""
    options = {
        "--side": name,
        "--model": setting.folder,
        "--pairs": setting.pair_file,
        "--count": setting.count,
        "--threads": setting.threads,
        "--device": device,
        "--batch-tokens": batch_tokens,
    }
    words = [str(word) for option in options.items() for word in option]
    command = [sys.executable, "-m", "benchmarks.engine.memory", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=shapes.ROOT)
    if done.returncode:
        raise SystemExit(f"the {name} side failed")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["peak"], np.array(found["numbers"])


@click.command(help=__doc__)
@benchmark(count=64, rounds=2)
@click.option("--batch-tokens", default=512, show_default=True, help="Padded tokens of a batch, both sides.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--side", type=click.Choice(["patchgrid", "floor"]), hidden=True)
def main(setting: Setting, batch_tokens: int, device: str, side: str | None) -> None:
    if side is not None:
        measure_here(side, setting, device, batch_tokens)
        return
    found = setting.figures(batch_tokens=batch_tokens, device=device)
    peaks: dict[str, list[float]] = {"patchgrid": [], "floor": []}
    for _ in range(setting.rounds):
        numbers = {}
        for name, values in peaks.items():
            peak, numbers[name] = measure_there(name, setting, device, batch_tokens)
            values.append(peak)
        timing.check(numbers["patchgrid"][:, 0], numbers["floor"][:, 0], "scores of the embeddings")
    ratios = tuple(ours / theirs for ours, theirs in zip(peaks["patchgrid"], peaks["floor"], strict=True))
    most = (max(values) for values in peaks.values())
    what, target = "peak above the loaded model, attribution", figures.Target(2, most=True)
    found.add(figures.Row(what, "floor", *most, "MB", ratios, target))
    found.write(setting.json)


if __name__ == "__main__":
    main()
