"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from patchgrid.core.files import written_whole


def test_a_file_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "a.txt"
    with written_whole(path) as file:
        file.write_text("one")
    with pytest.raises(UnicodeEncodeError), written_whole(path) as file:
        file.write_text("half \ud800", encoding="utf-8")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    """As the umask has it."""
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "a.txt") as file:
            file.write_text("one")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed_and_a_device_written_to(tmp_path: Path) -> None:
    """Neither is replaced by a file."""
    path, link = tmp_path / "a.txt", tmp_path / "link"
    link.symlink_to(path.name)
    with written_whole(link) as file:
        file.write_text("one")
    assert link.is_symlink()
    assert path.read_text() == "one"
    with written_whole(Path(os.devnull)) as file:
        assert file == Path(os.devnull)
