"""CSV files: our columns, EAP-IG's, EAP-IG's greater-than, and what can be wrong with them."""

from pathlib import Path

import pytest

from patchgrid.core.types import Pair, TokenText
from patchgrid.pairs import PairFile
from patchgrid.pairs.formats.lines import LIMIT
from support.storage.pair_files import jsonl, refusal, write

HEADER = "id,clean,corrupted,correct,incorrect,spans\n"
EAP = "clean,corrupted,correct_idx,incorrect_idx\n"
GREATER_THAN = "clean,corrupted,correct_idx\n"


def _csv(tmp_path: Path, content: str | bytes) -> Path:
    return write(tmp_path, content, "pairs.csv")


def test_a_row_becomes_a_pair(tmp_path: Path) -> None:
    """Quoted cells, line ends and quotes within them, spans as JSON."""
    row = 'one,"a, ""b""\nc",a b d, Mary, John,"{""s"": [0, 2]}"\n'
    assert list(PairFile.open(_csv(tmp_path, HEADER + row))) == [
        Pair('a, "b"\nc', "a b d", (" Mary",), (" John",), "one", {"s": (0, 2)})
    ]


@pytest.mark.parametrize(
    ("cell", "answers"),
    [
        ("43", ("43",)),
        ('"[43, "" a""]"', (43, " a")),
        ('"[""[""]"', ("[",)),
        ('"{""token"": ""43""}"', (TokenText("43"),)),
        ("{", ("{",)),
        (" [", (" [",)),
    ],
)
def test_a_cell_is_text_and_a_list_is_json(tmp_path: Path, cell: str, answers: tuple[object, ...]) -> None:
    """Numbers in a text column are text: as in JSON Lines, a token id needs brackets."""
    (pair,) = PairFile.open(_csv(tmp_path, f"clean,corrupted,correct,incorrect\na,b,{cell},x\n"))
    assert pair.correct == answers


def test_empty_cells_of_optional_columns_are_nothing(tmp_path: Path) -> None:
    """No id, no spans."""
    (pair,) = PairFile.open(_csv(tmp_path, HEADER + ",a,b,c,d,\n"))
    assert (pair.id, pair.spans) == (None, None)


def test_columns_may_stand_in_any_order_with_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    """As spreadsheets save them."""
    content = "\ufeff\r\nincorrect,correct,corrupted,clean\r\n\r\nd,c,b,a\r\n \r\n"
    assert list(PairFile.open(_csv(tmp_path, content))) == [Pair("a", "b", ("c",), ("d",))]


def test_the_same_pairs_have_the_same_digest_as_json_lines(tmp_path: Path) -> None:
    """The digest is over the pairs, not the bytes."""
    rows = HEADER + "x,a,b, c,[7],\n" + ',"é,\n",b,"[""c"", ""d""]", e,"{""t"": [1, 2], ""s"": [0, 1]}"\n'
    lines = jsonl(
        {"id": "x", "clean": "a", "corrupted": "b", "correct": " c", "incorrect": 7},
        {"clean": "é,\n", "corrupted": "b", "correct": ["c", "d"], "incorrect": " e"}
        | {"spans": {"s": [0, 1], "t": [1, 2]}},
    )
    from_csv = PairFile.open(_csv(tmp_path, rows)).check()
    from_jsonl = PairFile.open(write(tmp_path, lines)).check()
    assert from_csv.digest == from_jsonl.digest
    assert from_csv.count == 2


def test_eap_ig_columns_hold_token_ids(tmp_path: Path) -> None:
    """One, or a list; pandas' index column and the second corrupted prompt are passed over."""
    content = (
        ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n"
        '826,a,b,hard,14235,16753\n475,c,d,hard,"[1, 2]"," [3] "\n'
    )
    assert list(PairFile.open(_csv(tmp_path, content))) == [
        Pair("a", "b", (14235,), (16753,)),
        Pair("c", "d", (1, 2), (3,)),
    ]


@pytest.mark.parametrize("cell", ["14235.0", "x", '"[1, ""a""]"', "true", '"[1.0]"', "{}", "1 2"])
def test_an_index_cell_that_is_no_token_id_is_refused(tmp_path: Path, cell: str) -> None:
    """Floats that pandas makes, text, other JSON."""
    (message,) = refusal(_csv(tmp_path, EAP + f"a,b,{cell},3\n"))
    assert message.startswith("pairs.csv:2: 'correct_idx' must be a token id or a list of token ids, not '")


def test_index_cells_may_not_be_empty_or_equal(tmp_path: Path) -> None:
    """As for our own columns, under EAP-IG's names."""
    assert refusal(_csv(tmp_path, EAP + 'a,b,,3\na,b,"[1,3]",3\na,b,[],3\na,b,-1,3\n')) == [
        "pairs.csv:2: 'correct_idx' is empty",
        "pairs.csv:3: 'correct_idx' equal to 'incorrect_idx': both have token id 3",
        "pairs.csv:4: 'correct_idx' is empty",
        "pairs.csv:5: 'correct_idx' has a number (-1), which is not a token id",
    ]


@pytest.mark.parametrize(("cell", "year"), [("52", 52), ("4", 4), ("00", 0), ("98", 98)])
def test_greater_than_years_become_two_digit_answers(tmp_path: Path, cell: str, year: int) -> None:
    """Years above the start year are correct, 00 up to it are incorrect; a note says so."""
    file = PairFile.open(_csv(tmp_path, GREATER_THAN + f"from 1352 to 13,from 1301 to 13,{cell}\n"))
    (pair,) = file
    (note,) = file.check().notes
    assert pair.correct == tuple(TokenText(f"{above:02d}") for above in range(year + 1, 100))
    assert pair.incorrect == tuple(TokenText(f"{below:02d}") for below in range(year + 1))
    assert note.startswith("no incorrect_idx column, so correct_idx is read as in EAP-IG's greater-than file")


def test_greater_than_cells_that_are_no_year_are_refused(tmp_path: Path) -> None:
    """99 has no year above it; token ids are not years."""
    rule = "'correct_idx' must be the start year's two digits, 0 to 99, not"
    hint = "; for token ids add a column incorrect_idx"
    assert refusal(_csv(tmp_path, GREATER_THAN + 'a,b,99\na,b,14235\na,b,\na,b,"[1, 2]"\na,b,-1\n')) == [
        "pairs.csv:2: 'correct_idx' is 99, so no two-digit year is above it",
        f"pairs.csv:3: {rule} '14235'{hint}",
        "pairs.csv:4: 'correct_idx' is empty",
        f"pairs.csv:5: {rule} '[1, 2]'{hint}",
        f"pairs.csv:6: {rule} '-1'{hint}",
    ]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("clean,corrupted,correct\n", "missing column 'incorrect'"),
        (
            "clean,corrupt,correct,incorrect\n",
            "missing column 'corrupted'; unknown column 'corrupt' (did you mean 'corrupted'?)",
        ),
        ("clean,clean,corrupted,correct,incorrect\n", "column 'clean' appears twice"),
        ("clean,corrupted,correct,incorrect,span\n", "unknown column 'span' (did you mean 'spans'?)"),
        (
            "clean,corrupted,correct_idx,incorrect\n",
            "missing column 'correct'; unknown column 'correct_idx' (did you mean 'correct'?)",
        ),
        (
            "clean,corrupted,correct_idx,incorect_idx\n",
            "missing column 'incorrect_idx'; unknown column 'incorect_idx' (did you mean 'incorrect_idx'?)",
        ),
        (
            "clean_prefix,patch_prefix,clean_answr,patch_answer\n",
            "missing column 'clean_answer'; unknown column 'clean_answr' (did you mean 'clean_answer'?)",
        ),
        (
            "clean;corrupted;correct;incorrect\n",
            "the columns are separated by semicolons: separate them by commas",
        ),
        ("clean\tcorrupted\tcorrect\n", "the columns are separated by tabs: separate them by commas"),
    ],
)
def test_a_wrong_header_is_told_once(tmp_path: Path, header: str, problem: str) -> None:
    """Not again for every row."""
    assert refusal(_csv(tmp_path, "\n" + header + "a,b,c,d\n" * 3)) == [f"pairs.csv:2: {problem}"]


def test_a_header_alone_has_no_pairs(tmp_path: Path) -> None:
    """Nothing to do."""
    assert refusal(_csv(tmp_path, HEADER)) == ["pairs.csv: has no pairs"]


def test_too_many_or_too_few_cells_are_told_with_the_line_the_row_starts_on(tmp_path: Path) -> None:
    """Rows that span lines do not shift the numbers."""
    content = EAP + 'a,"b\n\nb",1,2\na,b,1\n\n"a\n",b,1,2,3\n'
    assert refusal(_csv(tmp_path, content)) == [
        "pairs.csv:5: 3 cells, but the header has 4",
        "pairs.csv:7: 5 cells, but the header has 4",
    ]


def test_empty_and_identical_cells_are_refused(tmp_path: Path) -> None:
    """The rules of JSON Lines hold."""
    problem = (
        "looks like a JSON list but is not valid (broken JSON: expecting value at column 2); "
        'write the text itself as ["["]'
    )
    content = "clean,corrupted,correct,incorrect\n,b,c,d\na,a,c,d\na,b,,d\na,b,c,[]\na,b,[x,d\n"
    assert refusal(_csv(tmp_path, content)) == [
        "pairs.csv:2: 'clean' is empty",
        "pairs.csv:3: 'corrupted' is the same as 'clean'",
        "pairs.csv:4: 'correct' is empty",
        "pairs.csv:5: 'incorrect' is empty",
        f"pairs.csv:6: 'correct' {problem}",
    ]


def test_bytes_that_are_not_utf8_are_told_with_the_row_and_the_rows_behind_are_read(tmp_path: Path) -> None:
    """The bad byte is on the second line of a quoted cell."""
    content = EAP.encode() + b'a,"b\n\xe9\nc",1,2\na,b,1,1\n'
    assert refusal(_csv(tmp_path, content)) == [
        "pairs.csv:2: not UTF-8: byte 0xe9 at byte 1 of the line",
        "pairs.csv:5: 'correct_idx' equal to 'incorrect_idx': both have token id 1",
    ]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ('a,"b,1,2\n', "a quote is never closed"),
        ('a,"b"c,1,2\n', "broken CSV: ',' expected after '\"'"),
        (
            "a,b\rc,1,2\n",
            "a carriage return in the middle of a line: end lines with LF or CRLF, or quote the cell",
        ),
        ("a\0,b,1,2\n", "'clean' has a NUL character"),
    ],
)
def test_broken_csv_is_refused(tmp_path: Path, rows: str, problem: str) -> None:
    """Quotes and line ends that do not fit."""
    assert refusal(_csv(tmp_path, EAP + "a,b,1,2\n" + rows)) == [f"pairs.csv:3: {problem}"]


def test_a_quote_that_is_never_closed_does_not_take_the_file_into_memory(tmp_path: Path) -> None:
    """The row is given up at the longest cell, and what follows is read."""
    content = EAP + 'a,"b,1,2\n' + "a,b,1,2\n" * 40_000 + "a,a,1,2\n"
    messages = refusal(_csv(tmp_path, content))
    assert messages == [
        "pairs.csv:2: a cell of more than 131,072 characters: close its quote, or use JSON Lines",
        "pairs.csv:40003: 'corrupted' is the same as 'clean'",
    ]


def test_a_line_of_a_megabyte_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """A cell may not be longer than Python's CSV reader takes, a line not longer than `LIMIT`."""
    content = EAP + f"{'x' * 1_000_000},b,1,2\n" + f"{'x' * LIMIT},b,1,2\n" + "a,a,1,2\n"
    assert refusal(_csv(tmp_path, content)) == [
        "pairs.csv:2: a cell of more than 131,072 characters: close its quote, or use JSON Lines",
        f"pairs.csv:3: the line is {LIMIT + 7:,} bytes long; the limit is {LIMIT:,}",
        "pairs.csv:4: 'corrupted' is the same as 'clean'",
    ]


def test_a_row_of_many_long_cells_is_refused(tmp_path: Path) -> None:
    """Each cell is short enough and each line is, but not the row."""
    cells = ",".join(['"' + "x" * 100_000 + '\n"'] * 12)
    assert refusal(_csv(tmp_path, EAP + cells + "\n" + "a,b,1,2\n"))[0] == (
        f"pairs.csv:2: the row is longer than {LIMIT:,} bytes"
    )


def test_csv_is_told_by_its_header_whatever_the_name(tmp_path: Path) -> None:
    """A name that says nothing, and one that says otherwise."""
    for name in ("pairs.txt", "pairs.jsonl"):
        assert PairFile.open(write(tmp_path, EAP + "a,b,1,2\n", name)).format == "CSV"


def test_a_csv_file_with_json_lines_records_agrees_on_duplicate_ids(tmp_path: Path) -> None:
    """Ids are checked across formats alike."""
    assert refusal(_csv(tmp_path, HEADER + "x,a,b,c,d,\nx,a,b,c,d,\n")) == [
        "pairs.csv:3: id 'x' is already used on line 2"
    ]
