"""The commands of the pages print what the pages show, and their examples run."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs import transcripts
from support.machines.pages import PAGES, ROOT


def demo_commands(text: str) -> list[str]:
    """The patchgrid commands of a page's shell blocks that measure the demo model."""
    found = re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [
        line
        for block in found
        if "examples/demo_model" in block
        for line in block.splitlines()
        if line.startswith("patchgrid ")
    ]


def words(text: str) -> list[str]:
    """What a command's output says: without numbers, tokens and names of machines."""
    return re.findall(r"[A-Za-z_]{3,}", re.sub(r"pg_[\w-]+|[\w.-]+/\d+(/\d+)?", "", text))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name == "tutorial.md" else [])
        for page in PAGES
        if "```console" in page.read_text(encoding="utf-8")
    ],
)
def test_transcripts_run(page: Path, tmp_path: Path) -> None:
    """Every command with output on a page, in an empty folder, with the demo model in place of the hub's.

    They print what the page shows, but for numbers and names of machines.
    """
    demo = ROOT / "examples" / "demo_model"
    transcripts.workplace(tmp_path, {"HuggingFaceTB/SmolLM2-135M-Instruct": demo})
    text = page.read_text(encoding="utf-8")
    printed = "".join(transcripts.run(command, tmp_path) + "\n" for command in transcripts.commands(text))
    if page.name not in ("README.md", "tutorial.md", "install.md"):
        # The others show the demo model, on any machine.
        assert words(printed) == words(re.sub(r"^\$ .*\n", "", transcripts.blocks(text), flags=re.MULTILINE))
    for code in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        if page.name == "tutorial.md":
            subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name)
        for page in PAGES
        if page.name != "README.md" and demo_commands(page.read_text(encoding="utf-8"))
    ],
)
def test_commands_on_the_demo_model_run(page: Path, workplace: Path) -> None:
    """Those of a page's shell blocks, in order; shorter by measuring fewer pairs."""
    for command in demo_commands(page.read_text(encoding="utf-8")):
        transcripts.run(re.sub(r"--limit \d+", "--limit 8", command), workplace)


def test_the_metrics_of_the_page_on_metrics_are_metrics(tmp_path: Path) -> None:
    """Installed as the page says, they are found by name; the function is accepted by the engine."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    module, calls = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    [points] = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    group = tomllib.loads(points)["project"]["entry-points"]["patchgrid.metrics"]
    info = tmp_path / "my_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in group.items()]
    (info / "entry_points.txt").write_text("\n".join(["[patchgrid.metrics]", *lines]))
    (tmp_path / "my_metrics.py").write_text(module)
    code = f"""
from patchgrid.engine import Engine, Pair
engine = Engine.load({str(ROOT / "examples" / "demo_model")!r}, device="cpu")
text = "When Mary and John went to the store, {{}} gave a drink to"
pairs = [Pair(text.format("John"), text.format("Mary"), " Mary", " John")]
for name in {sorted(group)}:
    print(engine.patch(pairs, ["a0.h3"], metric=name)[0, 0] != 0)
{calls}
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert (done.stdout, done.returncode) == ("True\n" * len(group), 0), done.stderr


def test_the_stand_in_engine_s_example_prints_what_it_says(tmp_path: Path) -> None:
    """Without a model or torch."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    code, printed = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == printed
