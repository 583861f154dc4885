"""Single bits flipped in a real job's SQLite file: each is found by `db check`, or changes nothing."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.cli.commands import patchgrid
from support.engine.cases import DEMO_PAIRS
from support.engine.models import DEMO_MODEL
from support.storage.bit_flips import dump, flipped

SEED, FLIPS = 13, 25


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database file of a job of the demo model, written by the command line."""
    path = tmp_path_factory.mktemp("measured") / "jobs.db"
    options = ("--limit", 30, "--detail", "positions", "--method", "atp,relp", "--exact", "0.1")
    made = patchgrid("run", DEMO_PAIRS, "-m", DEMO_MODEL, "--db", path, *options)
    assert made.exit_code == 0, made.stderr
    assert patchgrid("db", "check", "--db", path).exit_code == 0
    return path


def everywhere(content: bytes, numbers: random.Random) -> list[int]:
    """Draw bits of the whole file: most of a small one is empty."""
    return numbers.sample(range(8 * len(content)), FLIPS)


def in_use(content: bytes, numbers: random.Random) -> list[int]:
    """Draw bits of bytes that are not 0: nearly all of these are content."""
    used = [place for place, byte in enumerate(content) if byte]
    return [8 * place + numbers.randrange(8) for place in numbers.sample(used, FLIPS)]


@pytest.mark.parametrize("draw", [everywhere, in_use])
def test_a_flipped_bit_is_found_or_harmless(measured: Path, draw: object, tmp_path: Path) -> None:
    """None is both not found and in what is stored; what is told is no traceback."""
    before, results = dump(measured), Counter[str]()
    for number, bit in enumerate(draw(measured.read_bytes(), random.Random(SEED))):  # type: ignore[operator]
        copy = flipped(measured, tmp_path / f"{number}.db", bit)
        checked = patchgrid("db", "check", "--db", copy)
        assert "Traceback" not in checked.output
        assert "defect" not in checked.output, checked.output
        result = "harmless"
        if checked.exit_code:
            result = "found"
            assert checked.exit_code in (1, 2)
        else:
            assert dump(copy) == before, f"bit {bit} was not found"
        results[result] += 1
        lines = [*checked.stdout.splitlines(), *checked.stderr.splitlines()]
        said = f": {lines[0]}" if checked.exit_code else ""
        sys.stdout.write(f"byte {bit // 8:>8}, bit {bit % 8}: {result}{said}\n")
    assert results.total() == FLIPS
    assert draw is everywhere or results["found"] > FLIPS / 2
