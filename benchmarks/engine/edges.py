"""All edges of a GPT-2 by `eap`, against the published way of scoring them, with the numbers compared.

EAP-IG's own code is measured where it can be imported and --eap-ig names a checkout of its repository: see
compare.py. Its way in plain PyTorch, with care (split_streams.py), always is. The peak of memory is that of
batches of 16 pairs, above the loaded model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.common import figures, timing
from benchmarks.common.options import Setting, benchmark
from benchmarks.engine import memory
from benchmarks.peers import eap_ig, split_streams
from benchmarks.peers.compare import lens_version
from patchgrid.engine import Engine, Pair

#: Pairs of a batch whose memory is measured.
_BATCH = 16


@dataclass(frozen=True)
class Way:
    """Another way to score all edges; gives the mean over pairs, in the order of `Graph`."""

    name: str
    theirs: Callable[[Sequence[Pair]], np.ndarray]
    target: figures.Target | None = None
    #: Whether each prompt begins with a BOS.
    bos: bool | None = None


def ways(folder: str, checkout: Path | None, found: figures.Figures) -> Iterator[Way]:
    """Yield the ways that are supported here."""
    yield Way(split_streams.NAME, split_streams.SplitStreams(folder).scores)
    if checkout is not None and () < lens_version() < (4,):
        yield Way(eap_ig.NAME, eap_ig.EapIg(folder, checkout).edges, figures.Target(15), bos=True)
    else:
        found.note(f"Not measured here: EAP-IG's own code. {eap_ig.HELP}")


def peak_of(engine: Engine, pairs: Sequence[Pair]) -> float:
    """Return the peak memory of edges above the loaded model, in MB."""
    options = {"sites": ("edge",), "method": "eap", "keep_positions": False}
    engine.attribute(pairs[:1], **options)
    before = memory.start_peak("cpu")
    longest = max(len(engine.attribute([pair], sites=("z",))[0].tokens) for pair in pairs)
    engine.attribute(pairs, **options, batch_tokens=_BATCH * longest)
    return (memory.read_peak("cpu") - before) / 1e6


@click.command(help=__doc__)
@benchmark(count=16)
@click.option(
    "--eap-ig",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of a checkout of EAP-IG's repository.",
)
def main(setting: Setting, eap_ig: Path | None) -> None:
    found = setting.figures()
    pairs, engine = setting.pairs(), setting.engine()
    peak = peak_of(engine, pairs)
    found.note(f"Peak memory of a batch of {min(_BATCH, len(pairs))} pairs, above the model: {peak:,.0f} MB.")
    count = engine.layout.graph.count
    for way in ways(setting.folder, eap_ig, found):

        def ours(way: Way = way) -> np.ndarray:
            return split_streams.ours(engine, pairs, prepend_bos=way.bos)

        timing.check(ours(), way.theirs(pairs), way.name)
        times = timing.in_turn(ours, lambda way=way: way.theirs(pairs), setting.rounds)
        rates = (len(pairs) * rate for rate in times.rates)
        what = f"eap, all {count:,} edges, against {way.name}"
        found.add(figures.Row(what, way.name, *rates, "pairs/s", tuple(times.speedups), way.target))
    found.write(setting.json)


if __name__ == "__main__":
    main()
