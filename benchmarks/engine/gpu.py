"""Attribution on a GPU at growing batches: pairs a second of patchgrid and of the floor, and peak memory.

The models have random weights made on the device. They are not written to disk unless --save says so: the
engine loads a folder that has everything but the weights, and is handed the model in place of them. The share
of the matrix rate counts the floor's products for either side: forward twice, backward once, of what a block
multiplies with; whatever patchgrid leaves out counts as done.
"""

import copy
import itertools
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from benchmarks.common import figures, random_models, shapes, timing
from benchmarks.common.floor import Floor
from benchmarks.common.options import PAIRS, TOKENIZER
from benchmarks.common.ours import SITES, embedding_scores
from patchgrid.engine import Engine, Pair

#: Largest difference of two sides, as a share of the largest value.
_TOLERANCES = {"float32": timing.TOLERANCE, "bfloat16": 0.1}
_COLUMNS = (
    "model",
    "pairs a batch",
    "patchgrid, pairs/s",
    "floor, pairs/s",
    "ratio",
    "ratio, the floor tokenizing too",
    "share of matrix rate: patchgrid",
    "floor",
    "peak, MB: patchgrid",
    "floor",
)


@dataclass(frozen=True)
class Bench:
    """A model on a device, both ways."""

    name: str
    engine: Engine
    floor: Floor
    device: str
    dtype: str
    rounds: int
    #: Multiply-adds a second of a large product, twice.
    matrix_rate: float

    def measure(self, pairs: Sequence[Pair], batch: int) -> tuple[figures.Row, str]:
        """Compare both sides' numbers at a batch size, then time them; give a row and a line of the table."""
        self.floor.batch_tokens = batch_tokens = batch * tokens(self.floor, pairs) // len(pairs)
        batches = self.floor.prepare(pairs)

        def ours() -> object:
            return self.engine.attribute(pairs, sites=SITES, batch_tokens=batch_tokens)

        def theirs() -> np.ndarray:
            return self.floor.attribute(batches)

        scores = embedding_scores(self.engine, pairs, batch_tokens)[:, 0]
        timing.check(scores, theirs()[:, 0], self.name, _TOLERANCES[self.dtype])
        times = timing.in_turn(ours, theirs, self.rounds)
        rates = [len(pairs) * rate for rate in times.rates]
        what = f"{self.name}, {batch} pairs a batch"
        row = figures.Row(
            what, "floor", *rates, "pairs/s", tuple(times.speedups), target_of(self.name, batch)
        )
        tokenizing = timing.seconds_of(lambda: self.floor.prepare(pairs)) / len(pairs)
        cells = [self.name, str(batch), *(f"{rate:.4g}" for rate in rates), row.spread]
        cells += [f"{rates[0] * (1 / rates[1] + tokenizing):.2f}"]
        cells += [f"{rate * work_of(self.floor, pairs) / self.matrix_rate:.1%}" for rate in rates]
        cells += [peak(work, self.device) for work in (ours, theirs)]
        return row, line(cells)


def target_of(name: str, batch: int) -> figures.Target | None:
    """Return the target, if set."""
    aimed = name.startswith("llama-8b") or (name.startswith("gpt2-small") and batch == 512)
    return figures.Target(0.9) if aimed else None


def tokens(floor: Floor, pairs: Sequence[Pair]) -> int:
    """Count the tokens of one side of all pairs."""
    return sum(len(floor.tokenizer(pair.clean).input_ids) for pair in pairs)


def work_of(floor: Floor, pairs: Sequence[Pair]) -> float:
    """Count the floating-point operations of a pair's two forwards and one backward within the blocks."""
    outside = ("embed_tokens", "wte", "wpe", "lm_head")
    weights = sum(
        weight.numel()
        for name, weight in floor.model.named_parameters()
        if weight.ndim == 2 and not any(each in name for each in outside)
    )
    return 3 * 2 * weights * tokens(floor, pairs) / len(pairs)


def matrix_rate(device: str, dtype: str, size: int) -> float:
    """Time large products; give the floating-point operations a second."""
    left, right = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    spent = min(timing.seconds_of(lambda: (left @ right)[0, 0].item()) for _ in range(10))
    return 2 * size**3 / spent


def peak(work: Callable[[], object], device: str) -> str:
    """Write the most megabytes that torch held above what it held before."""
    if not device.startswith("cuda"):
        return "-"
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    return f"{(torch.cuda.max_memory_allocated(device) - before) / 1e6:.0f}"


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def read_pairs(path: Path, tokenizer: Path, count: int, *, unshared: bool) -> list[Pair]:
    """Read so many pairs, those of the file again and again where it has fewer."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    pairs = shapes.read_pairs(path, count, words)
    if unshared:
        pairs = shapes.without_shared_prefix(pairs, words)
    return list(itertools.islice(itertools.cycle(pairs), count))


def bench(shape: str, dtype: str, device: str, tokenizer: Path, rounds: int, *, save: bool) -> Bench:
    """Make a shape's model and load it both ways."""
    model = random_models.make(shape, dtype, device)
    floor = Floor(copy.deepcopy(model), AutoTokenizer.from_pretrained(tokenizer))
    with tempfile.TemporaryDirectory(prefix="patchgrid-") as folder:
        engine = random_models.load(model, tokenizer, Path(folder), device, dtype, save=save)
    rate = matrix_rate(device, dtype, 8192 if device.startswith("cuda") else 1024)
    return Bench(f"{shape} {dtype}", engine, floor, device, dtype, rounds, rate)


@click.command(help=__doc__)
@click.option("--device", default="cuda", show_default=True)
@click.option(
    "--shape",
    "names",
    multiple=True,
    default=("gpt2-small", "llama-8b"),
    show_default=True,
    type=click.Choice([*random_models.SHAPES]),
)
@click.option(
    "--dtype", type=click.Choice([*_TOLERANCES]), help="Else float32 for GPT-2, bfloat16 for Llama."
)
@TOKENIZER
@PAIRS
@click.option("--batches", default="64,128,256,512,1024", show_default=True, help="Pairs a batch.")
@click.option("--count", default=1024, show_default=True, help="Pairs measured.")
@click.option(
    "--unshared", is_flag=True, help="Another first word in the corrupted prompts: no shared prefix."
)
@click.option("--rounds", default=3, show_default=True, help="Rounds measured.")
@click.option("--save", is_flag=True, help="Write the weights to a temporary folder, and load them from it.")
@click.option("--json", type=click.Path(path_type=Path), help="Write the figures to this file too.")
def main(
    device: str,
    names: Sequence[str],
    dtype: str | None,
    tokenizer: Path,
    pair_file: Path,
    batches: str,
    count: int,
    unshared: bool,
    rounds: int,
    save: bool,
    json: Path | None,
) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.set_verbosity_error()
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    print(figures.machine(), where)
    found = figures.Figures({"device": where, "count": count, "rounds": rounds, "unshared": unshared})
    pairs = read_pairs(pair_file, tokenizer, count, unshared=unshared)
    table = [line(_COLUMNS), line(["---"] * len(_COLUMNS))]
    for shape in names:
        chosen = dtype or random_models.SHAPES[shape][1]
        one = bench(shape, chosen, device, tokenizer, rounds, save=save)
        for batch in map(int, batches.split(",")):
            try:
                row, text = one.measure(pairs, batch)
            except torch.OutOfMemoryError:
                found.note(f"{one.name}: out of memory at {batch} pairs a batch.")
                break
            found.add(row)
            table.append(text)
        found.note(f"Matrix rate of {where} in {chosen}: {one.matrix_rate / 1e12:.3g} TFLOP/s.")
    found.note("\n".join(table))
    found.write(json)


if __name__ == "__main__":
    main()
