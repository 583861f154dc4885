"""How tables and numbers are written."""

import dataclasses
import math
import os

import click
import pytest
from rich.cells import cell_len

from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import plain, visible
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.cli.views.agreement_table import show_agreement
from patchgrid.cli.views.component_table import say_intervals, show_components
from patchgrid.core.states import JobState
from patchgrid.core.text.wording import seconds, size
from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage
from patchgrid.storage.results.verification import Cost, verification
from support.cli.commands import FinishedJob, patchgrid

COLUMNS = (Column("name"), Column("value", number=True), Column("words"))
LONG = "a sentence of many words " * 20


def test_a_piped_table_is_as_wide_as_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """A row a line, no value cut, columns aligned by the width of their letters."""
    show_table(COLUMNS, [("東京", 1, LONG), ("x", 20_000, None)])
    header, rule, first, second = capsys.readouterr().out.splitlines()
    assert first == f"東京      1  {LONG.strip()}"
    assert second == "x     20000  -"
    assert header.startswith("name  value  words")
    assert set(rule) == {"─"}


def test_the_agreement_of_several_methods_fits_a_terminal(
    finished: FinishedJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Titles of more than one word are folded, and columns stand closer; the advice stands below."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **_options: os.terminal_size((80, 20)))
    with Database.open(f"sqlite:///{finished.database}") as database, database.read() as session:
        job = jobs.get(session, 1)
        row = verification(session, job)[0]
    long = {"site": "attn_pattern", "method": "relp", "n": 123_456, "cells": 1_234_567, "components": 99}
    figures = {"mean_pearson": 0.9412, "mean_pearson_se": 0.0114, "mean_slope": 1.333, "mean_slope_se": 0.04}
    row = dataclasses.replace(row, **long | figures | {"top_k": 10, "top_patched": 0, "top_overlap": None})
    show_agreement(Settings("", json=False), job, [row], Cost({"relp": 1.5, "atp": 2.5}, 3.5, 4))
    text = capsys.readouterr()
    lines = click.unstyle(text.out).splitlines()
    assert max(map(len, lines)) <= 80
    assert [word for line in lines[:2] for word in line.split()].count("sign") == 1
    assert "0.94 ± 0.01" in lines[-1]
    assert "1.33 ± 0.04" in lines[-1]
    assert "0/10 patched" in lines[-1]
    assert "none of the top 10 by relp are patched: patchgrid job refine 1 --top 10" in text.err
    assert "Per 1,000 pairs: relp 1.50 s, atp 2.50 s, exact patching 3.50 s (4 effects in all)" in text.err


def test_a_table_on_a_narrow_terminal_wraps_words_and_keeps_numbers_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut, no line is longer than the terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **_options: os.terminal_size((40, 20)))
    show_table(COLUMNS, [("東京" * 20, 123_456_789, LONG)])
    text = click.unstyle(capsys.readouterr().out)
    assert max(cell_len(line) for line in text.splitlines()) <= 40
    assert "123456789" in text
    assert text.count("sentence") == 20
    assert text.count("東京") == 20


def test_an_old_terminal_gets_stand_ins(finished: FinishedJob) -> None:
    """What it cannot show does not end the command."""
    result = patchgrid("results", "top", 1, "--db", finished.database, charset="ascii")
    assert result.exit_code == 0
    assert "-----" in result.stdout


def test_control_characters_are_escaped() -> None:
    """Nothing in the data moves the cursor."""
    assert visible("a\x1b[2Jb\n\tc\u202e") == r"a\x1b[2Jb\n\tc\u202e"
    assert visible(None) == "-"
    assert visible("東京 é") == "東京 é"


def test_the_decimal_points_of_a_column_stand_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Each number has its own digits, and sizes are still compared at a glance."""
    numbers = ("+8.8136", "-0.21", "+13", "-", "0.51 %", "78 %")
    show_table((Column("name"), Column("value", number=True)), [("x", text) for text in numbers])
    lines = capsys.readouterr().out.splitlines()[2:]
    points = [line.find(".") for line in lines if "." in line]
    assert points == [points[0]] * 3
    assert lines[2].index("3") == lines[5].index("8") == points[0] - 1


def test_times_and_sizes_are_said_as_people_do() -> None:
    """Two figures are enough."""
    assert [seconds(value) for value in (0.84, 12.4, 125, 11_400)] == [
        "0.8 s",
        "12 s",
        "2 min 05 s",
        "3 h 10 min",
    ]
    assert [size(value) for value in (5.1e8, 1.44e9)] == ["510 MB", "1.4 GB"]


def test_json_has_no_value_that_json_lacks() -> None:
    """NaN and infinity become null."""
    assert plain({"a": (math.nan, math.inf, 1.5), 2: [True, None]}) == {
        "a": [None, None, 1.5],
        "2": [True, None],
    }


def test_an_estimate_from_few_cells_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """In place of its interval, with what it means below."""
    place = {"site": "mlp_post", "layer": 0, "index": 3, "position": None, "n": 9, "exact_n": 1}
    figures = {"mean": 0.5, "mean_abs": 0.5, "std": 0.1, "estimate": 0.625, "ci_low": None, "ci_high": None}
    row = ComponentRow(**place, **figures, shrunk=True)  # type: ignore[arg-type]
    show_components([row])
    spec = JobSpec.of("a", sites=("mlp_post",))
    job = JobRecord(1, "", None, spec, JobState.DONE, (), 9, 9, 0, 0.0, None, None, None)
    say_intervals([row], Coverage(1, 9), Progress(9, 9, 0, 0, 1, 1, 0, 0, 0, 0), job=job)
    text = capsys.readouterr()
    assert click.unstyle(text.out).splitlines()[-1].split()[:6] == [
        "n0.3",
        "+0.500",
        "+0.625",
        "few",
        "cells",
        "1",
    ]
    assert "the estimate is shrunk toward the mean score" in text.err
