"""The page's files: what they may not hold, and that third parties' are those that were noted."""

import hashlib
import json
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "api" / "patchgrid" / "api" / "page"
ASSETS = PAGE / "assets"
VENDOR = ASSETS / "vendor"
OWN = sorted(path for path in ASSETS.rglob("*") if path.is_file() and VENDOR not in path.parents)
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
NOTED = json.loads((PAGE / "vendored.json").read_text(encoding="utf-8"))["packages"]
#: Not a file: the server makes it of the sites' records and the states.
RECORDS_MODULE = PAGE / "records.js"
RECORDS = {"SITE_RECORDS", "JOB_STATES", "ENDED_JOBS", "PAIR_STATES"}


def _name(path: Path) -> str:
    return str(path.relative_to(PAGE))


class _Elements(HTMLParser):
    """Every start tag of a document with its attributes, and the text within scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a start tag."""
        self.found.append((tag, dict(attributes)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        """Note what stands in a script or style."""
        if self._within in ("script", "style") and data.strip():
            self.inline.append(data)


def test_what_third_parties_wrote_is_what_was_noted() -> None:
    """Each file by its SHA-256, no file beside them, a licence with each package."""
    noted = {file["to"]: file["sha256"] for package in NOTED for file in package["files"]}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert there == noted
    for package in NOTED:
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
        assert package["integrity"].startswith("sha512-")
        assert any(file["to"].endswith("LICENSE") for file in package["files"])


def test_the_document_holds_no_script_and_no_style() -> None:
    """A strict Content-Security-Policy forbids both, and handlers as attributes."""
    document = _Elements()
    document.feed((PAGE / "index.html").read_text(encoding="utf-8"))
    assert document.inline == []
    for tag, attributes in document.found:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            if name in attributes:
                there = PAGE / str(attributes[name])
                assert there == RECORDS_MODULE or there.is_file(), attributes[name]


def test_the_document_names_every_module_that_it_will_need() -> None:
    """So that they come at once, and not one after the other."""
    document = _Elements()
    document.feed((PAGE / "index.html").read_text(encoding="utf-8"))
    preloaded = {str(each["href"]) for tag, each in document.found if each.get("rel") == "modulepreload"}
    # The document's own scripts, and what is loaded with the first chart.
    others = {"assets/app.js", "assets/early.js", "assets/charts/vega-util.js"}
    assert preloaded == {f"assets/{path.relative_to(ASSETS)}" for path in SCRIPTS} - others | {
        "assets/vendor/htm-preact.js",
        "records.js",
    }


@pytest.mark.parametrize("path", OWN, ids=_name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """The page works offline: no file of ours names another server."""
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]{2,}/", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=_name)
def test_no_script_makes_markup_or_code_out_of_text(path: Path) -> None:
    """Names and prompts are hostile: they reach the page as text alone."""
    text = path.read_text(encoding="utf-8")
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write"
    assert not re.search(rf"{markup}|\beval\(|new Function", text)
    # Styles as text would be refused by the page's policy; as objects they go through CSSOM.
    assert not re.search(r"""<style|style="|style=\$\{`|setAttribute\(["']style""", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=_name)
def test_every_module_that_is_imported_is_there_and_has_the_name(path: Path) -> None:
    """There is no build step that would tell."""
    text = path.read_text(encoding="utf-8")
    for names, source in re.findall(r"(?:import|export) \{([^}]*)\} from \"([^\"]+)\"", text):
        target = (path.parent / source).resolve()
        if target == RECORDS_MODULE.resolve():
            assert names.strip() in RECORDS
            continue
        assert target.is_file(), source
        if VENDOR in target.parents:
            continue
        exported = set(
            re.findall(r"export (?:async )?(?:function|class|const) (\w+)", target.read_text("utf-8"))
        )
        exported |= {
            each.strip()
            for block in re.findall(r"export \{([^}]*)\}", target.read_text("utf-8"))
            for each in block.split(",")
        }
        assert {name.strip() for name in names.split(",") if name.strip()} <= exported, source


@pytest.mark.parametrize("path", OWN, ids=_name)
def test_files_stay_small(path: Path) -> None:
    """One noun a file."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    """With every file, and third parties' licences."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("patchgrid/api/page/")}
    on_disk = [path for path in PAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert packed == {f"patchgrid/api/page/{path.relative_to(PAGE)}" for path in on_disk}
