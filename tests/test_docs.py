"""The documentation is true: its commands run, its links lead somewhere, its pages are current."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs import models, transcripts
from patchgrid.engine.model.families import FAMILIES
from patchgrid.engine.model.structure import REFUSED
from support.api.serving import serving
from support.cli.commands import start
from support.engine.cases import tiny_case
from support.machines.deployment import check_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell_commands() -> list[str]:
    """The README's patchgrid commands, in order."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("patchgrid ")]


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
    return re.findall(r"[A-Za-z_]{3,}", re.sub(r"pg_\w+|[\w.-]+/\d+(/\d+)?", "", text))


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub calls a page's headings."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """An empty folder that sees the checkout's examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def test_the_readme_s_commands_run(workplace: Path) -> None:
    """Each ends well, in the order in which they stand, and the picture is there."""
    commands = shell_commands()
    assert len(commands) >= 7
    for command in commands:
        words = [sys.executable, "-m", "patchgrid.cli", *shlex.split(command, comments=True)[1:]]
        done = subprocess.run(words, cwd=workplace, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (workplace / "heads.png").stat().st_size > 1000


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


def test_the_readme_s_python_runs(workplace: Path) -> None:
    """The notebook example, as it stands."""
    [code] = [block for block in blocks("python") if "Engine" in block]
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(scores.shape, effects.shape)"],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\(4, \d+, \d+\) \(1, 2\)", done.stdout)


def test_the_stand_in_engine_s_example_prints_what_it_says(tmp_path: Path) -> None:
    """Without a model or torch."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    code, printed = re.findall(r"```\w*\n(.*?)```", page, re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == printed


def test_the_readme_s_commands_and_python_run_through_a_server(workplace: Path) -> None:
    """With a worker beside it."""
    url = "http://localhost:8000"
    commands = [
        line for block in blocks("bash") for line in block.splitlines() if url in line and "--server" in line
    ]
    [code] = [block for block in blocks("python") if url in block]
    assert len(commands) >= 3
    database, model = workplace / "served.db", ROOT / "examples" / "demo_model"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    worker = ("worker", "start", "-m", model, "--db", database, "--poll", "0.2")
    with serving(str(database), "-m", model) as server, start(*worker) as process:
        try:
            for command in commands:
                words = [
                    sys.executable,
                    "-m",
                    "patchgrid.cli",
                    *shlex.split(command.replace(url, server.url))[1:],
                ]
                done = subprocess.run(words, cwd=workplace, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            shown = code.replace(url, server.url) + "\nprint(len(job.top(20)), job.state)"
            words = [sys.executable, "-c", shown]
            done = subprocess.run(
                words, cwd=workplace, capture_output=True, text=True, check=False, env=environment
            )
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "20 done"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """To a file, and to a heading in it. Only links within the repository: others cannot be tried here."""
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text_of(page)):
        if "://" not in target:
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_pages_exist(page: Path) -> None:
    """Each patchgrid command in a shell block or in the text is one, with options that it has."""
    check_page(page)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_every_page_is_on_the_map(page: Path) -> None:
    """docs/index.md leads to it."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert page.name == "index.md" or f"]({page.name})" in index


def test_the_readme_and_the_architecture_keep_within_their_limits() -> None:
    """So many lines that somebody reads them, none so long that it wraps twice."""
    for name, lines, width in (("README.md", 150, 120), ("ARCHITECTURE.md", 199, 139)):
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= lines
        for line in text_of(ROOT / name).splitlines():
            assert len(line) <= (180 if name == "README.md" and line.startswith("|") else width), line


def test_the_page_of_commands_is_current() -> None:
    """Run `python docs/command_line.py` when a command changes."""
    done = subprocess.run(
        [sys.executable, "-c", "import command_line; print(command_line.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")


def test_the_page_of_the_api_is_current() -> None:
    """Run `python docs/api.py` when an endpoint changes."""
    done = subprocess.run(
        [sys.executable, "-c", "import api; print(api.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_the_page_of_models_names_the_families_of_the_records() -> None:
    """Run `python docs/models.py` when a record changes."""
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    table, composites = text[: text.index("## Types without a record")].split("## Vision-language")
    decoders = re.findall(r"^\| `[^|]*`[^|]*\|[^|]*\| `([a-z0-9_-]+)`", composites, re.MULTILINE)
    assert set(re.findall(r"^\| `([a-z0-9_-]+)`", table, re.MULTILINE)) | set(decoders) == set(FAMILIES)
    assert f"{len(FAMILIES)} families" in text
    prose = [part.strip() for part in re.split(r"\{\w+\}", models.TEXT)]
    assert [part for part in prose if part not in text] == []
    for model_type in REFUSED:
        assert f"| `{model_type}` |" in text


def test_a_row_of_the_page_of_models_is_what_its_script_measures(tmp_path: Path) -> None:
    """For one family; all but the sizes of rounding, which differ from machine to machine."""
    row = models.row("gpt_neo", tiny_case("gpt_neo", tmp_path))
    [line] = re.findall(r"^\| (`gpt_neo` .*) \|$", (ROOT / "docs/models.md").read_text("utf-8"), re.MULTILINE)
    listed = [cell.strip() for cell in line.split(" | ")]
    assert [*row[:6], row[9]] == [*listed[:6], listed[9]]


def test_files_that_the_pages_name_exist() -> None:
    """In the text of every page, by path or by the end of one."""
    names = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*") if path.is_file()}
    names |= {
        path.relative_to(ROOT).as_posix()
        for folder in ("storage", "workers", "api", "cli", "tests", "benchmarks", "docs", "examples")
        for path in (ROOT / folder).rglob("*.*")
    }
    ends = {name.split("/", cut)[-1] for name in names for cut in range(name.count("/") + 1)}
    for page in PAGES:
        named = re.findall(r"`([\w/.-]+\.(?:py|js|yaml|sh|sbatch))`", text_of(page))
        assert [name for name in named if name not in ends | {"patchgrid/__init__.py"}] == [], page


def test_the_architecture_names_rooms_that_are_there() -> None:
    """Every folder of its map exists, and all code of the parts is in one of them."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = set()
    for cell in re.findall(r"^\| (`[^|]*/`) \|", text, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        rooms |= {ROOT / first, *(ROOT / first / ".." / other for other in others)}
    assert len(rooms) > 30
    for room in rooms:
        assert room.is_dir(), room
    resolved = {room.resolve() for room in rooms}
    for file in ROOT.glob("*/patchgrid/*/*/**/*.py"):
        assert resolved & set(file.parents), f"no room of the map holds {file}"


def test_the_walks_stop_at_functions_that_are_there() -> None:
    """Three walks of at most eight stops, none entered twice."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    walks = re.split(
        r"^\*\*", text[text.index("## Three walks") : text.index("## Invariants")], flags=re.MULTILINE
    )[1:]
    assert len(walks) == 3
    for walk in walks:
        stops = re.findall(r"^\d\. `([^`]+)`: `(\w+)`", walk, re.MULTILINE)
        assert 5 <= len(stops) <= 8
        assert len({file for file, _ in stops}) == len(stops) == len(re.findall(r"^\d\.", walk, re.MULTILINE))
        for file, name in stops:
            code = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"\b(?:def|class|function) {name}\b", code), f"{file}: {name}"
