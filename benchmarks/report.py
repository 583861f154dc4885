"""Run all benchmarks and write docs/benchmarks.md: `python benchmarks/report.py --help`.

Each section is a script of its own; one that fails is named on the page, and the others stay. Peers that need
packages of their own are run in the Pythons named by PATCHGRID_BENCH_LENS_PYTHON (an environment with the
extra `peers`) and PATCHGRID_BENCH_EAP_IG_PYTHON (one with TransformerLens 3), the latter with the checkout in
PATCHGRID_BENCH_EAP_IG; without these, the page says how to have them.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import figures, shapes
from benchmarks.sections import Section, sections

PAGE = shapes.ROOT / "docs" / "benchmarks.md"
#: Seconds after which a script has failed.
_PATIENCE = 1800

_INTRODUCTION = """# Benchmarks

For people who compare tools or plan hardware. `make bench` measures all of this and writes this page. Both
sides of a ratio are measured in turn in one run, on the same pairs and weights, and must give the same
numbers, or the run fails. A ratio is the median of the rounds, with its extremes in brackets. Missed targets
are marked.

{machine}. GPT-2-small shape with seeded random weights, tokenizer `{tokenizer}`, pairs from `{pairs}`
(PATCHGRID_BENCH_TOKENIZER and PATCHGRID_BENCH_PAIRS name others).

On a machine whose cores are busy with other work, a small model runs many times faster with
`OMP_NUM_THREADS=1`: torch's threads wait for one another.
"""

_GPU = """## GPU

Not measured: no GPU was available. `python -m benchmarks.engine.gpu --device cuda` prints the table: a
GPT-2-small shape in growing batches and an 8B Llama shape in bfloat16, both with random weights; pairs/s of
the floor and of patchgrid, the share of the floor's speed (target: at least 0.9) and of the measured matrix
rate, peak memory. Its code runs in the tests on a CPU, with a tiny shape.
"""


def run(section: Section, folder: Path, *, quick: bool) -> bool:
    """Run a section's script; tell whether it ended well."""
    file = folder / f"{section.name}.json"
    file.unlink(missing_ok=True)
    words = section.quick if quick else section.arguments
    command = [section.python, "-m", section.module, *words, "--json", str(file.resolve())]
    print(f"\n{section.title}: {section.command(quick=quick)}", flush=True)
    try:
        done = subprocess.run(
            command, env=os.environ | section.environment, timeout=_PATIENCE, check=False, cwd=shapes.ROOT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{section.title}: {error}", file=sys.stderr)
        file.unlink(missing_ok=True)
        return False
    if done.returncode:
        file.unlink(missing_ok=True)
    return file.exists()


def page(chosen: Sequence[Section], folder: Path, failed: Sequence[str], *, quick: bool) -> str:
    """Write the page from the figures in a folder."""
    tokenizer = os.environ.get("PATCHGRID_BENCH_TOKENIZER") or shapes.DEMO
    pairs = os.environ.get("PATCHGRID_BENCH_PAIRS") or shapes.PAIRS
    introduction = _INTRODUCTION.format(
        machine=f"{processor()}, {os.cpu_count()} cores; {figures.machine()}",
        tokenizer=Path(tokenizer).name,
        pairs=Path(pairs).name,
    )
    parts = [introduction, *(write(section, folder, failed, quick=quick) for section in chosen), _GPU]
    return "\n".join(parts)


def processor() -> str:
    """Name the processor as the system does."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def write(section: Section, folder: Path, failed: Sequence[str], *, quick: bool) -> str:
    """Write a section: what is measured, the command, the table."""
    file = folder / f"{section.name}.json"
    head = [f"## {section.title}", "", section.text, "", "```", section.command(quick=quick), "```", ""]
    if section.name in failed:
        return "\n".join([*head, "**The run failed: there are no figures.**", ""])
    if not file.exists():
        return "\n".join([*head, "Not measured.", ""])
    found = json.loads(file.read_text(encoding="utf-8"))
    return "\n".join([*head, *table(section, found), ""])


def table(section: Section, found: Mapping[str, Any]) -> Iterator[str]:
    """Write comparisons, or single figures."""
    if "figures" in found:
        yield from ("| what | figure | target |", "| --- | --- | --- |")
        for name, value in found["figures"].items():
            aim = next((aim for end, aim in section.targets.items() if name.endswith(end)), None)
            yield f"| {name} | {value:,.4g} | {judged(aim, value)} |"
        return
    if found["rows"]:
        yield from ("| what | patchgrid | other side | ratio | target |", "| --- | --- | --- | --- | --- |")
    for row in figures.read(found["rows"]):
        sides = f"{row.ours:,.4g} {row.unit} | {row.other}: {row.theirs:,.4g} {row.unit}"
        yield f"| {row.what} | {sides} | {row.spread} | {judged(row.target, row.ratio)} |"
    for number, note in enumerate(found["notes"]):
        yield from ("", note) if number or found["rows"] else (note,)


def judged(target: figures.Target | None, value: float) -> str:
    """Write a target, and whether it was missed."""
    if target is None:
        return ""
    return f"{target}" if target.met(value) else f"{target}: missed"


@click.command(help=__doc__)
@click.option("--out", default=PAGE, type=click.Path(path_type=Path), show_default="docs/benchmarks.md")
@click.option(
    "--only", multiple=True, help="Run these sections only; the others' figures are read from --figures."
)
@click.option("--figures", "kept", type=click.Path(path_type=Path), help="Folder for the sections' figures.")
@click.option("--quick", is_flag=True, help="Tiny models and few pairs: to see that it works, not to quote.")
def main(out: Path, only: Sequence[str], kept: Path | None, quick: bool) -> None:
    known = sections()
    unknown = set(only) - {section.name for section in known}
    if unknown:
        raise click.BadParameter(f"no section {', '.join(sorted(unknown))} here")
    chosen = [section for section in known if not only or section.name in only]
    with ExitStack() as stack:
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        failed = [section.name for section in chosen if not run(section, folder, quick=quick)]
        out.write_text(page(known, folder, failed, quick=quick), encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
