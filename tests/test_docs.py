"""The documentation is true: its commands run, its links lead somewhere, its pages are current."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from patchgrid.engine.model.families import FAMILIES
from patchgrid.engine.model.structure import REFUSED
from support.api.serving import serving
from support.cli.commands import start

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
    assert re.search(r"\(4, \d+, \d+\) \(1, 1\)", done.stdout)


def test_the_readme_s_commands_and_python_run_through_a_server(workplace: Path) -> None:
    """With a worker beside it."""
    url = "http://localhost:8000"
    commands = [
        line for block in blocks("bash") for line in block.splitlines() if url in line and "--server" in line
    ]
    [code] = [block for block in blocks("python") if "Client" in block]
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
    """Only links within the repository: others cannot be tried here."""
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


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
    for model_type in REFUSED:
        assert f"| `{model_type}` |" in text


def test_the_architecture_names_files_that_are_there() -> None:
    """Every path in the map exists."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for folder in re.findall(
        r"^\| `((?:workers|storage|cli|api|examples|benchmarks|tests)/[^`]*)`", text, re.MULTILINE
    ):
        assert (ROOT / folder).is_dir(), folder
