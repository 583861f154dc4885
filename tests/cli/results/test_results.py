"""Looking at what was measured, and writing it to files."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from patchgrid.core.text.number_format import percent, with_error
from patchgrid.storage.output.export import FIELDS
from support.cli.commands import FinishedJob, patchgrid

PNG, SVG = b"\x89PNG\r\n", b"<?xml"


def rows_of(text: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_top_orders_by_size_and_keeps_to_a_site(finished: FinishedJob) -> None:
    """By the estimate's size unless told otherwise."""
    rows = finished.ask_items("results", "top", "shared", "-k", 5)
    sizes = [abs(row["estimate"]) for row in rows]
    assert len(rows) == 5
    assert sizes == sorted(sizes, reverse=True)
    means = [row["mean_abs"] for row in finished.ask_items("results", "top", 1, "--by", "mean_abs")]
    assert means == sorted(means, reverse=True)
    only = finished.ask_items("results", "top", "last", "--site", "mlp_out")
    assert [row["component"] for row in only] != []
    assert {row["site"] for row in only} == {"mlp_out"}


def test_population_intervals_are_wider_around_the_same_estimates(finished: FinishedJob) -> None:
    """They are for what the pairs are a sample of; the others stand beside them."""
    job = finished.ask_items("results", "top", 1, "--interval", "pairs")
    population = finished.ask_items("results", "top", 1)
    for narrow, wide in zip(job, population, strict=True):
        own = [wide["pairs_low"], wide["pairs_high"]]
        assert own == [narrow["ci_low"], narrow["ci_high"]] == [narrow["pairs_low"], narrow["pairs_high"]]
        assert narrow["component"] == wide["component"]
        assert narrow["estimate"] == pytest.approx(wide["estimate"])
        assert wide["ci_high"] - wide["ci_low"] > narrow["ci_high"] - narrow["ci_low"]


def test_verify_gives_a_line_a_site_with_its_sample_size(finished: FinishedJob) -> None:
    """As many cells as were exported."""
    sites = {row["site"]: row for row in finished.ask_items("results", "verify", 1, "-k", 3)}
    exact = rows_of(finished.ask("results", "export", 1, "--what", "exact").stdout)
    assert list(sites) == ["z", "mlp_out", "resid_post"]
    for name, site in sites.items():
        assert site["n"] == sum(row["site"] == name for row in exact) > 0
        assert -1 <= site["pearson"] <= 1
        assert site["top_k"] == 3
    lines = finished.ask("results", "verify", 1, "-k", 3).stdout.splitlines()[2:5]
    tops = {line.split()[0]: line.split()[-3:] for line in lines}
    assert tops["z"][:2] == [f"{round(3 * sites['z']['top_overlap'])}/3", "±"]
    assert tops["mlp_out"][-2:] == ["3/3", "patched"]


def test_a_pair_shows_tokens_metrics_components_and_positions(finished: FinishedJob) -> None:
    """By id or by row, with the tokens that differ side by side."""
    text = finished.ask("results", "pair", 1, "pair-3").stdout
    assert text == finished.ask("results", "pair", "shared", 3).stdout
    differing = [line for line in text.splitlines() if line.split()[:1] == ["9"]]
    assert len(differing) == 1
    assert differing[0].count("'") == 4
    for words in ("logit_diff, clean", "logit_diff, corrupted", "Strongest components", "strongest here"):
        assert words in text
    assert "Patched exactly" in text


def test_a_pair_as_json_has_all_that_was_kept(finished: FinishedJob) -> None:
    """Scores by layer, position and head; exact cells; both metrics."""
    pair = finished.ask_json("results", "pair", 1, "pair-3")
    tokens = len(pair["tokens"])
    assert tokens == len(pair["corrupted_tokens"]) == 14
    assert [len(layer) for layer in pair["scores"]["z"]] == [tokens] * 3
    assert len(pair["scores"]["z"][0][0]) == 4
    assert pair["clean_metric"] != pair["corrupted_metric"]
    assert abs(pair["top"][0]["score"]) >= abs(pair["top"][1]["score"])
    assert {"site", "layer", "score", "effect", "inclusion"} <= set(pair["exact"][0])


def test_a_failed_pair_shows_its_reason(finished: FinishedJob) -> None:
    """And its prompts, but no tokens."""
    result = finished.ask("results", "pair", 1, "pair-11")
    assert result.exit_code == 0
    assert "failed" in result.stdout
    assert "several tokens" in result.stdout or "tokens" in result.stdout


@pytest.mark.parametrize("what", list(FIELDS))
def test_an_export_has_the_documented_fields_in_every_format(
    what: str, finished: FinishedJob, tmp_path: Path
) -> None:
    """JSON lines, CSV and Parquet hold the same rows; a file's suffix names its format."""
    lines = rows_of(finished.ask("results", "export", 1, "--what", what).stdout)
    table = finished.ask("results", "export", 1, "--what", what, "--format", "csv").stdout
    cells = list(csv.DictReader(io.StringIO(table)))
    path = tmp_path / "rows.parquet"
    wrote = finished.ask("results", "export", 1, "--what", what, "-o", path)
    columns = pq.read_table(path).to_pylist()
    assert f"Wrote {len(lines):,} rows to {path}" in wrote.stderr
    assert tuple(lines[0]) == tuple(cells[0]) == tuple(columns[0]) == FIELDS[what]
    for line, cell, column in zip(lines, cells, columns, strict=True):
        assert column == line
        assert {name: as_cell(value) for name, value in line.items()} == cell


def as_cell(value: object) -> str:
    """Write a value the way CSV does."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def test_an_export_to_a_file_replaces_it_whole(finished: FinishedJob, tmp_path: Path) -> None:
    """The old content stays until the new one is complete, and no temporary file is left."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("old")
    refused = finished.ask("results", "export", 9, "-o", path)
    assert (refused.exit_code, path.read_text()) == (2, "old")
    assert finished.ask("results", "export", 1, "--what", "pairs", "-o", path).stdout == ""
    assert [row["state"] for row in rows_of(path.read_text())] == ["done"] * 10 + ["failed"] * 2
    assert [file.name for file in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_an_export_that_breaks_off_leaves_the_old_file(
    finished: FinishedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason."""

    def broken(*_: object, **_options: object) -> Any:
        yield dict.fromkeys(FIELDS["pairs"])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("patchgrid.api.client.backends.database.export_rows", broken)
    path = tmp_path / "pairs.jsonl"
    path.write_text("old")
    result = finished.ask("results", "export", 1, "--what", "pairs", "-o", path)
    assert result.exit_code == 2
    assert f"cannot write {path}: No space left on device" in result.stderr
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_sql_answers_as_a_table_csv_or_json_lines(finished: FinishedJob) -> None:
    """And from standard input."""
    query = "SELECT state, count(*) AS pairs FROM outcome GROUP BY state ORDER BY state"
    table = finished.ask("results", "sql", query).stdout.splitlines()
    assert [line.split() for line in (table[0], *table[2:])] == [
        ["state", "pairs"],
        ["done", "10"],
        ["failed", "2"],
    ]
    assert (
        finished.ask("results", "sql", query, "--format", "csv").stdout == "state,pairs\ndone,10\nfailed,2\n"
    )
    rows = rows_of(finished.ask("results", "sql", query, "--json").stdout)
    assert rows == [{"state": "done", "pairs": 10}, {"state": "failed", "pairs": 2}]


def test_sql_shows_bytes_by_their_size_and_writes_them_in_hexadecimal(finished: FinishedJob) -> None:
    """A terminal never gets raw bytes."""
    query = "SELECT x'00ff' AS data, 9e999 AS huge"
    assert "<2 bytes>" in finished.ask("results", "sql", query).stdout
    assert rows_of(finished.ask("results", "sql", query, "--json").stdout) == [{"data": "00ff", "huge": None}]


PICTURES = {
    "heads": ("--what", "heads"),
    "heads of a pair": ("--what", "heads", "--pair", "pair-3"),
    "positions": ("--what", "positions"),
    "positions of another site": ("--what", "positions", "--site", "resid_post"),
    "tokens of a pair": ("--what", "positions", "--pair", "3"),
    "scatter": ("--what", "scatter", "--site", "mlp_out"),
}


@pytest.mark.parametrize("options", PICTURES.values(), ids=PICTURES)
def test_plot_writes_a_picture(options: tuple[str, ...], finished: FinishedJob, tmp_path: Path) -> None:
    """PNG or SVG, told by the ending."""
    ending, magic = ("svg", SVG) if "--pair" in options else ("png", PNG)
    path = tmp_path / f"picture.{ending}"
    result = finished.ask("results", "plot", "last", *options, "-o", path)
    assert result.exit_code == 0, result.stderr
    assert path.read_bytes().startswith(magic)
    assert result.stderr == f"Wrote {path}\n"


def test_a_pairs_picture_is_labelled_with_its_tokens(finished: FinishedJob, tmp_path: Path) -> None:
    """Where the prompts differ, with both."""
    path = tmp_path / "picture.svg"
    finished.ask("results", "plot", 1, "--what", "positions", "--pair", "pair-3", "-o", path)
    text = path.read_text()
    assert all(f">{label}</text>" in text for label in ("␣shop", "␣Anna / ␣Tom"))


def test_top_says_which_mean_its_interval_is_for_and_how_much_was_patched(finished: FinishedJob) -> None:
    """This job's pairs, or where they were drawn from; the share as the rows of JSON give it."""
    words = finished.ask("results", "top", 1).stderr
    rows = finished.ask_items("results", "top", 1, "-k", 1000)
    patched, cells = (sum(row[field] for row in rows) for field in ("exact_n", "n"))
    assert f"{patched:,} of {cells:,} cells ({percent(patched / cells)}) were patched exactly" in words
    assert "for the population that these 10 pairs are a sample of (--interval pairs" in words
    assert (
        "95 %, for these 10 pairs (--interval population"
        in finished.ask("results", "top", 1, "--interval", "pairs").stderr
    )
    assert [row["exact_share"] for row in rows] == [row["exact_n"] / row["n"] for row in rows]


def test_run_and_verify_tell_how_much_was_patched(finished: FinishedJob) -> None:
    """Of the job, and site by site."""
    sites = finished.ask_items("results", "verify", 1)
    patched, cells = (sum(row[field] for row in sites) for field in ("n", "cells"))
    assert f"{patched:,} of {cells:,} cells" in finished.result.stderr
    again = json.loads(patchgrid(*finished.command, "--json").stdout)
    assert again["coverage"] == {"patched": patched, "cells": cells, "share": patched / cells}
    table = finished.ask("results", "verify", 1).stdout.splitlines()
    for row, line in zip(sites, table[2:5], strict=True):
        assert row["exact_share"] == row["n"] / row["cells"]
        assert percent(row["exact_share"]) in line


def test_verify_has_all_figures_with_their_errors_below(finished: FinishedJob) -> None:
    """Over component means, within components, over all cells, and over those that matter."""
    (first, *_) = finished.ask_items("results", "verify", 1)
    text = finished.ask("results", "verify", 1).stdout.partition("All figures")[2]
    parts = [line.split() for line in text.splitlines()[4:8]]
    assert [parts[0][1], *(part[0] for part in parts[1:])] == ["means", "within", "cells", "matter"]
    slope = with_error(first["within_slope"], first["within_slope_se"])
    assert " ".join(parts[1]).endswith(slope)
    assert f"bias {with_error(first['bias'], first['bias_se'], sign=True)}" in text
    assert f"Spearman {with_error(first['spearman'], first['spearman_se'])}" in text


def test_verify_shows_the_components_whose_scores_are_furthest_off(finished: FinishedJob) -> None:
    """Of all cells, one a component, as the export has them."""
    cells = rows_of(finished.ask("results", "export", 1, "--what", "exact").stdout)
    off = {cell["component"]: 0.0 for cell in cells if cell["site"] == "z"}
    for cell in cells:
        if cell["site"] == "z":
            off[cell["component"]] = max(off[cell["component"]], abs(cell["effect"] - cell["score"]))
    found = finished.ask_items("results", "verify", 1, "--furthest", "z", "-k", 3)
    assert [cell["off"] for cell in found] == sorted(off.values(), reverse=True)[:3]
    table = finished.ask("results", "verify", 1, "--furthest", "z", "-k", 3).stdout
    assert [line.split()[0] for line in table.splitlines()[2:]] == [cell["component"] for cell in found]
