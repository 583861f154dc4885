"""Attribution against others' code on the same pairs, with their numbers compared.

nnsight one pair at a time is always measured. TransformerLens and EAP-IG are where they can be imported: they
need packages of their own, and EAP-IG another TransformerLens than the first, so each has its environment.

\b
TransformerLens: pip install -c constraints.txt '.[model,peers]'
EAP-IG: grep -v transformer-lens constraints.txt > eap.txt
  pip install -c eap.txt '.[model]' 'transformer-lens>=2.15,<4' matplotlib
  in another environment; then --eap-ig FOLDER, a checkout of its repository
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import numpy as np

from benchmarks.common import figures, timing
from benchmarks.common.options import Setting, benchmark
from benchmarks.peers import eap_ig, lens, notebook
from patchgrid.engine import Engine, Pair

NAMES = ("nnsight", "transformer-lens", "eap-ig")
#: Takes pairs, gives scores.
Scores = Callable[[Sequence[Pair]], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """Another way of computing scores, and the same numbers from patchgrid."""

    name: str
    theirs: Scores
    ours: Callable[[Engine, Sequence[Pair]], np.ndarray]
    #: What is computed.
    what: str
    target: figures.Target | None


def lens_version() -> tuple[int, ...]:
    """Return TransformerLens's version; empty if it is not installed."""
    try:
        return tuple(int(part) for part in version("transformer-lens").split(".")[:2])
    except PackageNotFoundError:
        return ()


def peers(folder: str, names: Sequence[str], checkout: Path | None, found: figures.Figures) -> Iterator[Peer]:
    """Yield the installed peers; note what the others need."""
    eight = figures.Target(8)
    if "nnsight" in names:
        for name, careful, target in ((notebook.NAME, False, eight), (notebook.CAREFUL, True, None)):
            theirs = notebook.Notebook(folder, careful=careful).scores
            yield Peer(name, theirs, notebook.ours, "four sites", target)
    if "transformer-lens" in names and lens_version() >= (4, 3):
        yield Peer(lens.NAME, lens.Lens(folder).scores, lens.ours, "four sites against its two", eight)
    elif "transformer-lens" in names:
        found.note(f"Not measured here: TransformerLens 4.3. {lens.HELP}")
    if "eap-ig" in names and checkout is not None and () < lens_version() < (4,):
        theirs = eap_ig.EapIg(folder, checkout).scores
        yield Peer(eap_ig.NAME, theirs, eap_ig.ours, "nodes, averaged over pairs", None)
    elif "eap-ig" in names:
        found.note(f"Not measured here: EAP-IG. {eap_ig.HELP}")


def compare(peer: Peer, engine: Engine, pairs: Sequence[Pair], rounds: int) -> figures.Row:
    """Check that both sides compute the same, then time them."""
    timing.check(peer.ours(engine, pairs), peer.theirs(pairs), peer.name)
    times = timing.in_turn(lambda: peer.ours(engine, pairs), lambda: peer.theirs(pairs), rounds)
    rates = (len(pairs) * rate for rate in times.rates)
    what = f"attribution ({peer.what}), against {peer.name}"
    return figures.Row(what, peer.name, *rates, "pairs/s", tuple(times.speedups), peer.target)


@click.command(help=__doc__)
@benchmark(count=16)
@click.option(
    "--eap-ig",
    type=click.Path(exists=True, path_type=Path),
    help="Folder of a checkout of EAP-IG's repository.",
)
@click.option("--only", "names", multiple=True, default=NAMES, show_default=True, type=click.Choice(NAMES))
def main(setting: Setting, eap_ig: Path | None, names: Sequence[str]) -> None:
    found = setting.figures()
    pairs, engine = setting.pairs(), setting.engine()
    for peer in peers(setting.folder, names, eap_ig, found):
        found.add(compare(peer, engine, pairs, setting.rounds))
    found.write(setting.json)


if __name__ == "__main__":
    main()
