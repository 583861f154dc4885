"""Pictures as files: their types, their texts, and where they are written."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from patchgrid.api.pictures.errors import OutputError
from patchgrid.api.pictures.plots import layer_head_heatmap, layer_position_heatmap
from patchgrid.api.pictures.saving import save
from patchgrid.api.pictures.scatter import score_effect_scatter
from patchgrid.core.errors import PatchgridError
from patchgrid.core.packages import MissingExtraError
from support.cli.pictures import PNG, UNIT, random_values


def test_text_in_an_svg_is_text(tmp_path: Path) -> None:
    """It can be searched and edited; and the same picture is the same file."""
    for name in ("a.svg", "b.svg"):
        figure = layer_position_heatmap(random_values(2, 3), [-3, -2, " Mary"], title="a job", unit=UNIT)
        save(figure, tmp_path / name)
    figure.savefig(tmp_path / "by hand.svg")
    assert ">a job</text>" in (tmp_path / "by hand.svg").read_text()
    texts = [node.text for node in ET.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"a job", "\N{MINUS SIGN}3", "␣Mary", f"mean score ({UNIT})"} <= set(texts)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_pdf_has_its_fonts_with_it(tmp_path: Path) -> None:
    """As TrueType, which other programs can edit; not as drawn outlines of type 3."""
    save(layer_head_heatmap(random_values(4, 4), title="t", unit=UNIT), tmp_path / "a.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in data
    assert b"/Type3" not in data


def test_the_resolution_can_be_chosen(tmp_path: Path) -> None:
    """Twice the dots an inch make twice the width."""
    for dpi in (50, 100):
        save(layer_head_heatmap(random_values(4, 4), title="t", unit=UNIT), tmp_path / f"{dpi}.png", dpi)
    narrow, wide = (plt.imread(tmp_path / f"{dpi}.png").shape[1] for dpi in (50, 100))
    assert wide == pytest.approx(2 * narrow, abs=2)


def test_very_many_points_make_a_small_svg(tmp_path: Path) -> None:
    """They are drawn as a picture within it."""
    points = np.random.default_rng(0).normal(size=(2, 50_000))
    save(score_effect_scatter(*points, title="t", unit=UNIT), tmp_path / "many.svg")
    assert (tmp_path / "many.svg").stat().st_size < 500_000


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", PNG), ("a.PNG", PNG), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")]
)
def test_the_ending_chooses_the_file_type(tmp_path: Path, name: str, start: bytes) -> None:
    """Written whole, readable as new files are, with nothing left beside it."""
    save(layer_head_heatmap(random_values(4, 4), title="t", unit=UNIT), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / "other").touch()
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode
    if name.endswith("svg"):
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")


def test_the_same_picture_is_written_over_an_old_one(tmp_path: Path) -> None:
    """Without asking, as the other exports are."""
    (tmp_path / "a.png").write_bytes(b"old")
    save(layer_head_heatmap(random_values(4, 4), title="t", unit=UNIT), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", ".png"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    """And nothing written."""
    with pytest.raises(OutputError, match=r"a picture file must end in \.png, \.svg or \.pdf"):
        save(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """No such folder; a folder by that name; a file where a folder should be."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for place, message in [
        (tmp_path / "none" / "a.png", "does not exist"),
        (tmp_path / "folder.png", "is a folder, not a file name"),
        (tmp_path / "file" / "a.png", "cannot be written: Not a directory"),
    ]:
        with pytest.raises(PatchgridError, match=message) as caught:
            save(Figure(), place)
        assert str(caught.value).startswith(f"{place}: ")
        assert caught.value.exit_code == 2


def test_a_full_disk_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is written beside it first."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        save(Figure(), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_without_matplotlib_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchgrid\[plot\]'"):
        layer_head_heatmap(random_values(2, 2), title="t", unit=UNIT)


def test_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    """In a process of its own: pyplot is not even imported, and no setting is changed."""
    code = f"""
import sys, matplotlib
before = matplotlib.rcParams.copy()
from patchgrid.api.pictures.plots import layer_head_heatmap
from patchgrid.api.pictures.saving import save
from patchgrid.api.pictures.scatter import score_effect_scatter
save(layer_head_heatmap([[1.0]], title="t", unit="u"), {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
