"""How fast pair files are read, a format at a time: `python -m benchmarks.jobs.pair_files --help`.

The same pairs in each format; all must come out the same. Parquet is read by a process of its own: what that
costs is told by reading it once more in this one.
"""

import csv
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from patchgrid.pairs.formats import parquet_rows
from patchgrid.pairs.formats.parquet import most_text
from patchgrid.pairs.formats.registry import find_format
from patchgrid.pairs.records.digest import Digest
from patchgrid.pairs.records.reading import Findings, Row

_NAMES = ("Mary", "John", "Anna", "Tom", "Kate", "Paul", "Lucy", "Mark")


def records(count: int) -> list[dict[str, str]]:
    """Make pairs that are all different."""
    found = []
    for row in range(count):
        one, two = _NAMES[row % 8], _NAMES[(row + row // 8 % 7 + 1) % 8]
        start = f"When {one} and {two} went to store number {row}, "
        clean, corrupted = f"{start}{two} gave a drink to", f"{start}{one} gave a drink to"
        found.append({"clean": clean, "corrupted": corrupted, "correct": f" {one}", "incorrect": f" {two}"})
    return found


def write_all(folder: Path, rows: list[dict[str, str]]) -> dict[str, Path]:
    """Write the pairs in each format."""
    paths = {name: folder / f"pairs.{name}" for name in ("jsonl", "csv", "parquet")}
    paths["jsonl"].write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with paths["csv"].open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), paths["parquet"])
    return paths


def fingerprint(rows: Iterator[Row]) -> str:
    """Read all pairs; give what they are known by."""
    digest = Digest()
    for _, pair in rows:
        if isinstance(pair, list):
            raise SystemExit(f"a pair is refused: {'; '.join(pair)}")
        digest.add(pair)
    return digest.value


def read(path: Path) -> str:
    return fingerprint(find_format(path, path.name).read(path, {}, Findings()))


def read_here(path: Path) -> str:
    """Read a Parquet file in this process."""
    return fingerprint(parquet_rows.read(path, most_text(path), {}, Findings()))


@click.command(help=__doc__)
@click.option("--pairs", default=200_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too."
)
def main(pairs: int, rounds: int, json_file: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="patchgrid-") as folder:
        paths = write_all(Path(folder), records(pairs))
        sides = {
            "JSON Lines (pairs/s)": (read, paths["jsonl"]),
            "CSV (pairs/s)": (read, paths["csv"]),
            "Parquet (pairs/s)": (read, paths["parquet"]),
            "Parquet, read in this process (pairs/s)": (read_here, paths["parquet"]),
        }
        best = dict.fromkeys(sides, 0.0)
        digests = set()
        for _ in range(rounds):
            for name, (side, path) in sides.items():
                start = time.perf_counter()
                digests.add(side(path))
                best[name] = max(best[name], pairs / (time.perf_counter() - start))
    if len(digests) != 1:
        raise SystemExit("the formats did not compute the same: their pairs differ")
    for name, value in best.items():
        print(f"{name}: {value:,.0f}")
    if json_file is not None:
        setting = {"pairs": pairs, "rounds": rounds}
        json_file.write_text(json.dumps({"setting": setting, "figures": best}, indent=1) + "\n")


if __name__ == "__main__":
    main()
