"""The pages are true: links lead somewhere, tables are current, limits are kept."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import models
from patchgrid.engine.model.families import FAMILIES
from patchgrid.engine.model.structure import REFUSED
from support.engine.cases import tiny_case
from support.machines.deployment import check_page
from support.machines.pages import PAGES, ROOT, text_of


def anchors(page: Path) -> set[str]:
    """What GitHub calls a page's headings."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


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


@pytest.mark.parametrize("page", ["command-line", "api"])
def test_the_page_of_commands_and_of_the_api_is_current(page: str) -> None:
    """Run `python docs/command_line.py` or `python docs/api.py` when what the page lists changes."""
    module = page.replace("-", "_")
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}; print({module}.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


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
