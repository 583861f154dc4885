"""What each way to compute less is worth: all of them, against all but one, and against none."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import click
import numpy as np

from benchmarks.common import figures, timing
from benchmarks.common.options import Setting, benchmark
from benchmarks.common.ours import SITES
from patchgrid.engine import Component, Engine
from patchgrid.engine.model.shortcuts import Shortcuts

Work = Callable[[Engine], np.ndarray]


def others(taken: Shortcuts) -> dict[str, Shortcuts]:
    """Name what is compared with."""
    names = [field.name for field in fields(Shortcuts) if getattr(taken, field.name)]
    return {f"without `{name}`": replace(taken, **{name: False}) for name in names} | {
        "none of them": Shortcuts.none()
    }


def works(setting: Setting, patch_count: int) -> dict[str, Work]:
    """Return the timed functions: scores of many pairs, and every head's effect in a few."""
    pairs = setting.pairs()

    def attribute(engine: Engine) -> np.ndarray:
        results = engine.attribute(pairs, sites=SITES)
        return np.concatenate([result.scores["atp"][site].ravel() for result in results for site in SITES])

    def patch(engine: Engine) -> np.ndarray:
        layout: Any = engine.layout
        heads = [Component("z", layer, h) for layer in range(layout.n_layers) for h in range(layout.n_heads)]
        return engine.patch(pairs[:patch_count], heads)

    return {f"attribution of {len(pairs)} pairs": attribute, f"all heads of {patch_count} pairs": patch}


@click.command(help=__doc__)
@benchmark(count=32, rounds=2)
@click.option("--patch-count", default=2, show_default=True, help="Pairs patched.")
def main(setting: Setting, patch_count: int) -> None:
    found = setting.figures(patch_count=patch_count)
    engine = setting.engine()
    for what, work in works(setting, patch_count).items():
        expected = work(engine)
        for name, shortcuts in others(engine.shortcuts).items():
            other = engine.with_shortcuts(shortcuts)
            timing.check(work(other), expected, f"{what}, {name}")
            times = timing.in_turn(
                lambda work=work: work(engine), lambda o=other, w=work: w(o), setting.rounds
            )
            seconds = (1 / rate for rate in times.rates)
            found.add(figures.Row(what, name, *seconds, "s", tuple(times.speedups)))
    found.write(setting.json)


if __name__ == "__main__":
    main()
