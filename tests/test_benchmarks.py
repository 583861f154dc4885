"""Each benchmark runs, on a tiny model with few pairs, and ends with an error when its two sides disagree."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: What a script is run with; one process runs several, as each would import torch anew.
TINY = "--shape tiny --count 4 --rounds 1"
PRELUDE = """
import dataclasses, importlib, json, sys
from pathlib import Path

def end(script, words):
    # 0, or what the script says as it ends.
    try:
        importlib.import_module("benchmarks." + script).main(words.split())
    except SystemExit as error:
        return error.code

def wrong(owner, name, change):
    # Have a function give something else.
    right = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: change(right(*args, **options)))

def hundredth_more(numbers):
    return 1.01 * numbers
"""


def drive(code: str) -> str:
    """Run code beside the benchmarks, one thread, no hub; give what it printed."""
    settings = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    named = {name: value for name, value in os.environ.items() if not name.startswith("PATCHGRID_BENCH_")}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=named | settings,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_comparison_runs_and_writes_its_figures(tmp_path: Path) -> None:
    """Both sides agree, and every row has its ratios."""
    drive(f"""
for script, words in {{
    "engine.attribution": "{TINY}",
    "engine.patching": "{TINY}",
    "engine.sets": "{TINY} --sets 3",
    "engine.shortcuts": "{TINY} --patch-count 1",
    "engine.edges": "{TINY}",
    "peers.compare": "{TINY} --only nnsight",
    "jobs.pipeline": "{TINY} --demo-count 8",
    "engine.gpu": "--device cpu --shape tiny --count 4 --batches 2,4 --rounds 1",
}}.items():
    assert end(script, words + f" --json {tmp_path}/{{script}}.json") == 0, script
""")
    rows = {path.stem: json.loads(path.read_text())["rows"] for path in tmp_path.iterdir()}
    assert {script: len(found) for script, found in rows.items()} == {
        "engine.attribution": 2,
        "engine.patching": 1,
        "engine.sets": 2,
        "engine.shortcuts": 12,
        "engine.edges": 1,
        "peers.compare": 2,
        "jobs.pipeline": 2,
        "engine.gpu": 2,
    }
    assert all(row["ratios"][0] > 0 for found in rows.values() for row in found)


def test_the_service_is_measured_under_load_and_at_length(tmp_path: Path) -> None:
    """People read and submit, a file is uploaded, and a large database is asked; nothing fails."""
    words = "--seconds 3 --readers 8 --submitters 2 --every 1 --upload 3000000 --jobs 10 --large 128"
    drive(f"""assert end("jobs.service", "{words} --databases SQLite --json {tmp_path}/service.json") == 0""")
    figures = json.loads((tmp_path / "service.json").read_text())["figures"]
    assert figures["SQLite: errors"] == 0
    assert any(name.startswith("SQLite: components, p99") for name in figures)
    assert "SQLite: heatmap, then (ms)" in figures


def test_reading_pair_files_is_measured_in_each_format(tmp_path: Path) -> None:
    """All formats give the same pairs, or the benchmark ends with an error."""
    drive(f"""
assert end("jobs.pair_files", "--pairs 300 --rounds 1 --json {tmp_path}/pairfiles.json") == 0
from benchmarks.jobs import pair_files
wrong(pair_files, "read_here", lambda digest: digest[::-1])
assert "did not compute the same" in end("jobs.pair_files", "--pairs 300 --rounds 1")
""")
    figures = json.loads((tmp_path / "pairfiles.json").read_text())["figures"]
    assert len(figures) == 4
    assert min(figures.values()) > 0


def test_storage_is_measured_on_both_databases(tmp_path: Path) -> None:
    """The same figures of each."""
    options = f"--pairs 128 --large 256 --components 330 --json {tmp_path}/storage.json"
    drive(f"""assert end("jobs.storage", "{options}") == 0""")
    figures = json.loads((tmp_path / "storage.json").read_text())["figures"]
    for kind in ("SQLite", "PostgreSQL"):
        assert figures[f"{kind}: stored, detail positions (pairs/s)"] > 0
    assert figures["SQLite: top 20 of 256 pairs, finished (s)"] > 0


def test_estimates_are_replayed_on_known_effects(tmp_path: Path) -> None:
    """On made-up truths, the demo model's, and those of a file."""
    drive(f"""
words = "examples/pairs/ioi.jsonl --model examples/demo_model --count 70 -o {tmp_path}/t.npz"
assert end("estimates.truth", words) == 0
words = "{tmp_path}/t.npz --replays 40 --pairs 70 --shares 0.1,0.7 --no-demo --processes 1"
assert end("estimates.calibration", words + " --json {tmp_path}/rows.json --page {tmp_path}/page.md") == 0
assert end("estimates.agreement", "{tmp_path}/t.npz --jobs 3 --pairs 70 --share 0.7") == 0
""")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["truth"] for row in rows[::2]] == ["heavy tails", "templates", "ioi, logit_diff, denoise"]
    for few, many in zip(rows[::2], rows[1::2], strict=True):
        assert not few["planned"], "seven cells a component are no budget for a plan"
        assert few["now"] == few["before"]
        assert many["now"]["share"] == pytest.approx(0.7, rel=0.1)
        assert many["before"]["share"] == pytest.approx(0.7, rel=0.1)
        assert many["now"]["error"] < 0.5 * many["attribution"]
        assert 0.85 < many["now"]["coverage"] <= 1
    assert rows[-1]["now"]["error"] < 0.5 * rows[-1]["before"]["error"]
    page = (tmp_path / "page.md").read_text()
    assert page.count("| 70 | ") == len(rows)
    assert "made-up templates" in page


def test_peak_memory_is_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    """Both peaks are above the loaded model, with a batch that needs more than a process has to spare."""
    words = "--shape tiny --count 64 --batch-tokens 8192 --rounds 1"
    drive(f"""assert end("engine.memory", "{words} --json {tmp_path}/memory.json") == 0""")
    [row] = json.loads((tmp_path / "memory.json").read_text())["rows"]
    assert row["ours"] > 0
    assert row["theirs"] > 0


def test_wrong_numbers_end_a_benchmark_with_an_error() -> None:
    """A side that is one per cent off is found, in every script that compares."""
    drive(f"""
import numpy
from benchmarks.common import floor
from benchmarks.engine import memory, patching
from benchmarks.jobs import pipeline, storage
from benchmarks.peers import notebook
wrong(floor.Floor, "attribute", hundredth_more)
wrong(patching, "patch_heads", hundredth_more)
wrong(notebook.Notebook, "scores", hundredth_more)
wrong(pipeline.components, "components", lambda rows: [
    dataclasses.replace(row, mean=1.01 * row.mean) for row in rows
])
wrong(storage.pair_view, "pair", lambda view: dataclasses.replace(
    view, scores={{site: 1.01 * scores for site, scores in view.scores.items()}}
))
numbers = iter([1.0, 1.01])
memory.measure_there = lambda *_: (1.0, numpy.full((4, 3), next(numbers)))
for script, words in {{
    "engine.attribution": "{TINY}",
    "engine.patching": "{TINY}",
    "peers.compare": "{TINY} --only nnsight",
    "jobs.pipeline": "{TINY} --demo-count 0",
    "engine.memory": "{TINY}",
    "engine.gpu": "--device cpu --shape tiny --count 4 --batches 2 --rounds 1",
    "jobs.storage": "--pairs 128 --large 0 --components 330 --databases SQLite",
}}.items():
    assert "did not compute the same" in str(end(script, words)), script
""")


def test_the_recorder_asks_the_same_again() -> None:
    """Functions given to the engine are not run again; what they returned is given back."""
    drive("""
from benchmarks.common.replay import Recorder

class Engine:
    name, asked = "one", []
    def measure(self, pairs, draw, *, on_batch=None):
        self.asked.append((pairs, [draw(pair) for pair in pairs], on_batch is None))

drawn = []
def draw(pair):
    drawn.append(pair)
    return -pair
engine = Engine()
recorder = Recorder(engine)
assert recorder.name == "one"
recorder.measure([1, 2], draw, on_batch=print)
recorder.ask_again()
recorder.ask_again()
drawings = ([1, 2], [-1, -2])
assert engine.asked == [(*drawings, False), (*drawings, True), (*drawings, True)], engine.asked
assert drawn == [1, 2]
""")


def test_every_script_can_be_run() -> None:
    """As `python -m` does."""
    scripts = [path for path in (ROOT / "benchmarks").rglob("*.py") if "@click.command" in path.read_text()]
    assert len(scripts) > 15
    assert [str(path) for path in scripts if '\nif __name__ == "__main__":' not in path.read_text()] == []


def test_a_script_that_writes_no_figures_has_failed(tmp_path: Path) -> None:
    """Whatever its exit status."""
    drive(f"""
import dataclasses
from benchmarks import report, sections
section = dataclasses.replace(sections.QUEUE, module="json.tool", quick=("--help",))
assert report.run(section, Path("{tmp_path}"), quick=True) is False
""")


def test_a_script_that_fails_takes_no_other_section_from_the_page(tmp_path: Path) -> None:
    """The page names it, keeps the others, and the command ends with an error."""
    drive(f"""
from benchmarks import report
from benchmarks.common import figures
row = figures.Row("this", "that", 2.0, 1.0, "pairs/s", (1.9, 2.0, 2.1), figures.Target(1.5))

def run(section, folder, *, quick):
    if section.name == "storage":
        (folder / "storage.json").write_text(json.dumps({{"figures": {{"stored (pairs/s)": 5.0}}}}))
    elif section.name != "patching":
        figures.Figures({{}}, [row], ["A note."]).write(folder / f"{{section.name}}.json")
    return section.name != "patching"

report.run = run
assert end("report", "--out {tmp_path}/page.md") == "failed: patching"
""")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.count("The run failed") == 1
    assert page.count("| this | 2 pairs/s | that: 1 pairs/s | 2 (1.9 to 2.1) | at least 1.5 |") == 13
    assert "| stored (pairs/s) | 5 |  |" in page
