"""docs/calibration.md, from the figures of a run of the calibration benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from patchgrid.estimates.allocation import ENOUGH

Figures = Mapping[str, Any]

#: What the figures of a setting shall be: name, lowest, highest.
TARGETS = {
    "ratio": (0.0, 0.5),
    "coverage": (0.93, 0.97),
    "worst": (0.88, 1.0),
    "top": (0.93, 1.0),
    "together": (0.93, 1.0),
}
#: Part of the residuals' squares in 2 % of the pairs from which on few pairs carry them.
_TAIL = 0.25
#: Correlation of the sizes of residuals and scores from which on the former follow the latter.
_FOLLOWS = 0.9
#: Classes of settings by cells of a component: name, from, to below.
_CLASSES = (("below 16", 0, 16), ("16 to 40", 16, 40), ("40 to 100", 40, 100), ("100 and more", 100, 10**9))

_PAGE = """# Calibration

For people who want to know how near estimates come and how far intervals can be trusted, before they
believe a table. Every effect of some pairs is computed; then a job's sampling is repeated {replays:,}
times by the product's own functions, and the effects that it asks for are looked up. The demo model's
effects are computed in the run, the others are made up or read from a file. [Estimates](estimates.md)
says what the numbers mean; `--replays`, `--pairs` and `--shares` choose other settings.

```sh
python -m benchmarks.estimates.truth examples/pairs/smollm2_ioi.jsonl --count 100 \\
  --model HuggingFaceTB/SmolLM2-135M-Instruct -o real_ioi.npz                   # the real model's effects
python -m benchmarks.estimates.calibration real_ioi.npz --page docs/calibration.md
```

## Of the targets

Settings that meet each target, by how many cells of a component are patched (mean over components).

{summary}

## By setting

| column | is |
| --- | --- |
| share, cells | share of all (pair, component) cells that is patched, and of each component how many |
| of first | root mean square error over components and samples, over the first generation's |
| of scores, of exact | over the error of mean scores alone, and of the patched cells alone |
| coverage | 95 % intervals that hold the true mean over the job's pairs |
| worst tenth | of the tenth of the components that is covered worst |
| top 10, shown 10 | of the ten truly largest components, and of the ten that a sample shows as the largest |
| all | samples in which all simultaneous intervals hold |
| no interval | components with too few patched cells for one; they count in no coverage |

The pilot's cells are counted. The first generation is `--allocate score` with as many cells. Numbers in
bold miss a target: `of first` at most 0.5, coverage 0.93 to 0.97, worst tenth at least 0.88, top 10 at
least 0.93, all at least 0.93. The last column says why:

{reasons}

Settings with less than one cell of a component are left out.

{table}## The population's mean

Here the pairs are drawn too: 100 of each source, of which {share:.0%} of the cells are patched, and intervals
for the population are compared with the mean over the source. Target: 0.92 to 0.97. Pairs of one
template are a group.

{population}"""

_REASONS = {
    "a": f"below {ENOUGH:.0f} cells a component there is no plan by residuals: cells are drawn by score, as\n"
    "  before",
    "b": "2 % of the pairs carry a quarter or more of the squares of what scores leave unexplained (mean\n"
    "  over components): pilot and samples often miss these pairs, and intervals without them are too short",
    "c": "what scores leave unexplained grows with the scores (the logarithms correlate by 0.9 or more over\n"
    "  components), as the first generation assumes: there is little to gain",
    "d": "none of these: the few cells of a component say little of their spread",
}


def write_page(file: Path, found: Figures) -> None:
    """Write the page."""
    rows = found["rows"]
    reasons = "\n".join(f"- **{letter}**: {text}." for letter, text in _REASONS.items())
    page = _PAGE.format(
        replays=found["replays"],
        reasons=reasons,
        table="".join(_tables(rows)),
        summary=_summary(rows),
        share=found["populations"][0]["share"] if found["populations"] else 0,
        population=_populations(found["populations"]),
    )
    file.write_text(page, encoding="utf-8")


def _tables(rows: Sequence[Figures]) -> Iterator[str]:
    """Yield a table for each truth."""
    head = (
        *("pairs", "share", "cells", "of first", "of scores", "of exact", "coverage", "worst tenth"),
        *("top 10", "shown 10", "all", "no interval", "why"),
    )
    for name in dict.fromkeys(row["truth"] for row in rows):
        yield f"### {name[0].upper()}{name[1:]}\n\n"
        yield f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n"
        for row in rows:
            if row["truth"] == name:
                yield f"| {' | '.join(_cells(row))} |\n"
        yield "\n"


def _cells(row: Figures) -> Iterator[str]:
    now, missed = row["now"], _missed(row)
    yield f"{row['pairs']:,}"
    yield f"{now['share']:.3f}"
    yield f"{now['share'] * row['pairs']:.0f}"
    yield _marked(f"{_ratio(row):.2f}", "ratio" in missed)
    yield f"{_over(now['error'], row['attribution']):.3g}"
    yield f"{_over(now['error'], now['exact_alone']):.2f}"
    for name in ("coverage", "worst", "top"):
        yield _marked(f"{now[name]:.3f}", name in missed)
    yield f"{now['shown']:.3f}"
    yield _marked(f"{now['together']:.3f}", "together" in missed)
    yield f"{now['without']:.0%}" if now["without"] >= 0.005 else ""
    yield ", ".join(_why(row, missed))


def _ratio(row: Figures) -> float:
    return _over(row["now"]["error"], row["before"]["error"])


def _over(value: float, by: float) -> float:
    return value / by if by > 0 else 1.0


def _missed(row: Figures) -> list[str]:
    """Return the names of the targets that a setting misses."""
    values = {"ratio": _ratio(row), **{name: row["now"][name] for name in TARGETS if name != "ratio"}}
    return [name for name, (low, high) in TARGETS.items() if not low <= values[name] <= high]


def _why(row: Figures, missed: Sequence[str]) -> Iterator[str]:
    """Yield the letters of the reasons that hold."""
    reasons = {
        "a": not row["planned"],
        "b": row["tail"] >= _TAIL,
        "c": "ratio" in missed and row["planned"] and row["follows"] >= _FOLLOWS,
    }
    yield from [letter for letter, holds in reasons.items() if holds and missed] or ["d"] * bool(missed)


def _summary(rows: Sequence[Figures]) -> str:
    """Count the settings that meet each target, by their cells of a component, and give the medians."""
    words = {
        "ratio": "of first at most 0.5",
        "coverage": "coverage 0.93 to 0.97",
        "worst": "worst tenth at least 0.88",
        "top": "top 10 at least 0.93",
        "together": "all at least 0.93",
    }
    lines = [f"| cells of a component | {' | '.join(words.values())} |", f"|{' --- |' * (len(words) + 1)}"]
    for title, least, most in _CLASSES:
        some = [row for row in rows if least <= row["now"]["share"] * row["pairs"] < most]
        cells = []
        for name in words:
            values = [_ratio(row) if name == "ratio" else row["now"][name] for row in some]
            met = sum(name not in _missed(row) for row in some)
            cells.append(f"{met} of {len(some)}, median {median(values):.2f}" if some else "")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _populations(rows: Sequence[Figures]) -> str:
    lines = ["| source | coverage | worst tenth | top 10 | all |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        held = _marked(f"{row['coverage']:.3f}", not 0.92 <= row["coverage"] <= 0.97)
        together = _marked(f"{row['together']:.2f}", row["together"] < 0.93)
        lines.append(f"| {row['truth']} | {held} | {row['worst']:.3f} | {row['top']:.3f} | {together} |")
    return "\n".join(lines) + "\n"


def _marked(text: str, wrong: bool) -> str:
    return f"**{text}**" if wrong else text
