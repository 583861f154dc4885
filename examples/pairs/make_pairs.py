"""Write the example pair files, or larger ones.

All prompts are combinations that the demo model's training never saw. The same seed gives the same files.
"""

import argparse
import csv
import json
import random
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from tokenizers import Tokenizer  # noqa: E402

from examples.demo_model import tokenizer as demo_tokenizer  # noqa: E402
from examples.demo_model import words  # noqa: E402
from examples.demo_model.prompts import IoiPrompt, YearPrompt, split  # noqa: E402

Row = dict[str, Any]

COUNT = 300
SEED = 0


def ioi_pairs(
    count: int = COUNT,
    seed: int = SEED,
    *,
    corruption: Literal["flip", "abc"] = "flip",
    spans: bool = False,
    names: Collection[str] = words.NAMES,
) -> list[Row]:
    """Return distinct indirect-object pairs as the rows of a pair file.

    `flip` has the indirect object give instead of the subject, so the right answer turns round; `abc` has a
    third person give, so neither name is favoured. With `spans`, rows say which of the demo model's tokens
    are `IO`, `S1`, `S2` and `end`. `names` are the people to choose from.
    """
    rng = random.Random(seed)
    _, held_out = split()
    tokenizer = demo_tokenizer.build()
    pairs = tuple(pair for pair in held_out.name_pairs if set(pair) <= set(names))
    allowed = replace(held_out, name_pairs=pairs)
    rows = []
    for number, prompt in enumerate(_distinct(lambda: allowed.ioi(rng), count)):
        stranger = rng.choice([name for name in names if name not in (prompt.io, prompt.subject)])
        row: Row = {
            "id": f"ioi-{number:04d}",
            "clean": prompt.text,
            "corrupted": prompt.given_by(prompt.io if corruption == "flip" else stranger).text,
            "correct": f" {prompt.io}",
            "incorrect": f" {prompt.subject}",
        }
        rows.append(row | {"spans": _spans(prompt, tokenizer)} if spans else row)
    return rows


def greater_than_pairs(count: int = COUNT, seed: int = SEED) -> list[Row]:
    """Return distinct greater-than pairs as the rows of a pair file.

    The corrupted prompt starts in year 01 of the century, after which every year but 00 and 01 is later.
    """
    rows = []
    for number, prompt in enumerate(_year_prompts(count, seed)):
        rows.append(
            {
                "id": f"gt-{number:04d}",
                "clean": prompt.text,
                "corrupted": prompt.starting(1).text,
                "correct": [f"{year:02d}" for year in range(prompt.year + 1, 100)],
                "incorrect": [f"{year:02d}" for year in range(prompt.year + 1)],
            }
        )
    return rows


def ioi_csv_rows(count: int = COUNT, seed: int = SEED) -> list[Row]:
    """Return the pairs of `ioi_pairs` in EAP-IG's columns; the answers are the demo model's token ids."""
    token = demo_tokenizer.build().token_to_id
    return [
        {
            "clean": row["clean"],
            "corrupted": row["corrupted"],
            "correct_idx": token(row["correct"].replace(" ", "Ġ")),
            "incorrect_idx": token(row["incorrect"].replace(" ", "Ġ")),
        }
        for row in ioi_pairs(count, seed)
    ]


def greater_than_csv_rows(count: int = COUNT, seed: int = SEED) -> list[Row]:
    """Return `greater_than_pairs` in EAP-IG's columns: `correct_idx` is the first year's last two digits."""
    return [
        {"clean": prompt.text, "corrupted": prompt.starting(1).text, "correct_idx": f"{prompt.year:02d}"}
        for prompt in _year_prompts(count, seed)
    ]


def write_all(folder: Path, count: int = COUNT, seed: int = SEED) -> None:
    """Write every example file into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ioi = ioi_pairs(count, seed)
    _write_jsonl(folder / "ioi.jsonl", ioi)
    _write_jsonl(folder / "gpt2_ioi.jsonl", ioi_pairs(count, seed + 1))
    _write_jsonl(folder / "smollm2_ioi.jsonl", ioi_pairs(count, seed + 2, names=words.SMOLLM2_NAMES))
    _write_jsonl(folder / "ioi_abc.jsonl", ioi_pairs(count, seed, corruption="abc"))
    _write_jsonl(folder / "ioi_spans.jsonl", ioi_pairs(count, seed, spans=True))
    _write_jsonl(folder / "greater_than.jsonl", greater_than_pairs(count, seed))
    _write_csv(folder / "ioi.csv", ioi_csv_rows(count, seed))
    _write_csv(folder / "greater_than.csv", greater_than_csv_rows(count, seed))


def _year_prompts(count: int, seed: int) -> list[YearPrompt]:
    rng = random.Random(seed)
    _, held_out = split()
    return _distinct(lambda: held_out.years(rng), count)


def _distinct(draw: Callable[[], Any], count: int) -> list[Any]:
    """Draw until `count` different prompts are found; ValueError when there are too few."""
    found: dict[Any, None] = {}
    for _ in range(1000 + 20 * count):
        if len(found) == count:
            return list(found)
        found[draw()] = None
    raise ValueError(f"there are no {count} different prompts of this kind: ask for fewer")


def _spans(prompt: IoiPrompt, tokenizer: Tokenizer) -> dict[str, tuple[int, int]]:
    """Token ranges [start, stop) of the indirect object, the subject's two mentions and the last token."""
    tokens = tokenizer.encode(prompt.text).tokens
    io = tokens.index(f"Ġ{prompt.io}")
    first = tokens.index(f"Ġ{prompt.subject}")
    second = tokens.index(f"Ġ{prompt.subject}", first + 1)
    starts: Mapping[str, int] = {"IO": io, "S1": first, "S2": second, "end": len(tokens) - 1}
    return {name: (start, start + 1) for name, start in starts.items()}


def _write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", default=COUNT, type=int, help=f"pairs a file (default: {COUNT})")
    parser.add_argument("--seed", default=SEED, type=int, help=f"seed of the prompts (default: {SEED})")
    parser.add_argument("--out", default=FOLDER, type=Path, help="folder to write to (default: this one)")
    options = parser.parse_args()
    try:
        write_all(options.out, options.count, options.seed)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
