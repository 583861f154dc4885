"""The options that the benchmarks share, and what they come to."""

import functools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from benchmarks.common import figures, shapes
from patchgrid.engine import Engine, Pair

_PATH = click.Path(exists=True, path_type=Path)

TOKENIZER = click.option(
    "--tokenizer",
    type=_PATH,
    default=shapes.DEMO,
    envvar="PATCHGRID_BENCH_TOKENIZER",
    help="Tokenizer of --shape; else PATCHGRID_BENCH_TOKENIZER, else the demo model's.",
)
PAIRS = click.option(
    "--pairs",
    "pair_file",
    type=_PATH,
    default=shapes.PAIRS,
    envvar="PATCHGRID_BENCH_PAIRS",
    help="Pair file; else PATCHGRID_BENCH_PAIRS, else examples/pairs/ioi.jsonl.",
)


@dataclass(frozen=True)
class Setting:
    """The model and the pairs that both sides work on."""

    #: Folder of the model.
    folder: str
    pair_file: Path
    count: int
    rounds: int
    json: Path | None
    #: The shape's or the folder's name.
    model: str
    threads: int
    tokenizer: Any = field(repr=False)

    def pairs(self, count: int | None = None) -> list[Pair]:
        """Read the pairs to measure."""
        return shapes.read_pairs(self.pair_file, count or self.count, self.tokenizer)

    def engine(self) -> Engine:
        return Engine.load(self.folder, device="cpu", dtype="float32")

    def figures(self, **more: Any) -> figures.Figures:
        """Begin a script's figures, with a line about the machine."""
        print(figures.machine(), flush=True)
        names = ("model", "count", "rounds", "threads")
        setting = {name: getattr(self, name) for name in names} | {"pairs": self.pair_file.name}
        return figures.Figures(setting | more)


def benchmark(*, count: int, rounds: int = 3) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command's first argument a `Setting`, read from the options that all benchmarks have."""
    options = (
        click.option("--model", type=_PATH, help="A GPT-2 folder; without it, --shape with random weights."),
        click.option("--shape", default="gpt2-small", show_default=True, type=click.Choice([*shapes.SHAPES])),
        TOKENIZER,
        PAIRS,
        click.option("--count", default=count, show_default=True, help="Pairs measured."),
        click.option("--rounds", default=rounds, show_default=True, help="Rounds measured."),
        click.option("--threads", default=0, help="Threads of torch; 0: as torch chooses."),
        click.option("--json", type=click.Path(path_type=Path), help="Write the figures to this file too."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            own = {name: value for name, value in values.items() if name not in _SHARED}
            command(_setting(**{name: values[name] for name in _SHARED}), **own)

        return functools.reduce(lambda made, option: option(made), reversed(options), run)

    return decorate


_SHARED = ("model", "shape", "tokenizer", "pair_file", "count", "rounds", "threads", "json")


def _setting(*, model: Path | None, shape: str, tokenizer: Path, threads: int, **values: Any) -> Setting:
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if threads:
        torch.set_num_threads(threads)
    folder = str(model) if model else _random_model(shape, tokenizer)
    return Setting(
        folder=folder,
        model=Path(model).name if model else f"{shape} shape, random weights",
        threads=torch.get_num_threads(),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        **values,
    )


def _random_model(shape: str, tokenizer: Path) -> str:
    """Save a model for as long as the command runs."""
    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory(prefix="patchgrid-"))
    return shapes.save_model(shape, tokenizer, folder)
