"""The group of a pair: read from every format, written, counted, refused where only some pairs have one."""

from pathlib import Path

import pytest

from patchgrid.core.types import Pair
from patchgrid.pairs import PairFile, PairFileError
from patchgrid.pairs.records.groups import GroupNumbers
from patchgrid.pairs.writing import write_pairs
from support.storage.pair_files import jsonl, record, refusal, write

NAMED = [record(0, group="ABBA"), record(1, group="BABA"), record(2, group=3)]


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "pairs.parquet"])
def test_groups_are_read_and_written_in_every_format(tmp_path: Path, name: str) -> None:
    """A whole number is a name; the same pairs have the same digest in each."""
    first = PairFile.open(write(tmp_path, jsonl(*NAMED), "first.jsonl"))
    write_pairs(tmp_path / name, first)
    written = PairFile.open(tmp_path / name)
    assert [pair.group for pair in written] == ["ABBA", "BABA", "3"]
    assert written.check().digest == first.check().digest
    assert (
        written.check().digest != PairFile.open(write(tmp_path, jsonl(*map(record, range(3))))).check().digest
    )


def test_a_column_can_be_the_group(tmp_path: Path) -> None:
    """Published files call theirs by many names."""
    path = write(tmp_path, jsonl(record(0, template=4), record(1, template=4)))
    file = PairFile.open(path, columns={"group": "template"})
    assert [pair.group for pair in file] == ["4", "4"]
    assert file.check().groups == 1
    assert file.check().notes == ("all 2 pairs are of one group: there are no intervals for the population",)


def test_pairs_without_a_group_share_one_by_their_clean_prompt(tmp_path: Path) -> None:
    """Said in a note; where no two are the same there are no groups."""
    alone = PairFile.open(write(tmp_path, jsonl(record(0), record(1)))).check()
    assert (alone.groups, alone.notes) == (None, ())
    pairs = jsonl(record(0), record(1), record(0, corrupted="Mary and John; Eve gave to"))
    shared = PairFile.open(write(tmp_path, pairs)).check()
    assert (shared.groups, shared.groups_named) == (2, False)
    [note] = shared.notes
    assert note.startswith(
        "2 different clean prompts in 3 pairs: in intervals, pairs with the same one count"
    )


def test_groups_are_numbered_as_they_come() -> None:
    """By name, or by clean prompt."""
    numbers = GroupNumbers()
    pairs = [Pair(clean, "x", (" a",), (" b",), group=group) for clean, group in ("pA", "qA", "pB", "rA")]
    assert [numbers.of(pair) for pair in pairs] == [0, 0, 1, 0]
    numbers = GroupNumbers()
    assert [numbers.of(Pair(clean, "x", (" a",), (" b",))) for clean in "ppqp"] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ((record(0, group="a"), record(1)), "missing 'group', which the pairs before it have"),
        (
            (record(0), record(1, group="a")),
            "has a 'group', the pairs before it have none: give every pair one, or none",
        ),
        (
            (record(0, group="a"), record(1, group=["b"])),
            "'group' must be text or a whole number, not a list",
        ),
        ((record(0, group="a"), record(1, group="")), "'group' is empty"),
        ((record(0, group="a"), record(1, group="x" * 201)), "'group' is longer than 200 characters"),
    ],
)
def test_bad_groups_are_refused(tmp_path: Path, records: tuple[object, ...], problem: str) -> None:
    """With the line that has them."""
    assert refusal(write(tmp_path, jsonl(*records))) == [f"pairs.jsonl:2: {problem}"]


def test_a_misspelt_group_is_not_passed_over(tmp_path: Path) -> None:
    """As other fields are not."""
    with pytest.raises(PairFileError, match=r"unknown field 'grup' \(did you mean 'group'\?\)"):
        PairFile.open(write(tmp_path, jsonl(record(0, grup="a")))).check()
