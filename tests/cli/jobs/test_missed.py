"""`job missed` and what shows it, on a tiny model with a neuron that scores do not see."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from transformers import AutoModelForCausalLM

from patchgrid.api import Workspace
from patchgrid.core.states import JobState
from patchgrid.engine import Engine
from patchgrid.pairs import PairFile
from patchgrid.storage import Database
from patchgrid.storage.tables import job as job_table
from patchgrid.storage.tables import missed as missed_table
from patchgrid.workers.measuring.missed import Done, Wanted, measure_missed, plan_missed
from support.cli.commands import FinishedJob, patchgrid, refused, write_pairs
from support.engine.models import save_model
from support.engine.planted import GREATER_THAN, HIDDEN, SWITCH, save_planted_model

#: Neurons of the job whose scores miss one: nothing is patched alone.
NEURONS = ("--sites", "mlp_post", "--exact", "0")


@pytest.fixture(scope="module")
def planted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model with a neuron that attribution misses."""
    return save_planted_model(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny random model: 144 neurons in three layers."""
    return save_model("gpt2", tmp_path_factory.mktemp("tiny")).folder


def finished_job(folder: Path, model: Path, *options: object, count: int = 16) -> FinishedJob:
    """Measure a job to its end."""
    pairs = write_pairs(folder / "pairs.jsonl", count)
    command = ("run", pairs, "-m", model, "--db", folder / "jobs.db", *options)
    result = patchgrid(*command)
    assert result.exit_code == 0, result.stderr
    return FinishedJob(folder / "jobs.db", pairs, model, command, result)


@pytest.fixture(scope="module")
def bounded(planted_model: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedJob:
    """Return a finished job of 24 pairs, with subsets in 16 of them."""
    folder = tmp_path_factory.mktemp("bounded")
    command = ("run", GREATER_THAN, "-m", planted_model, "--db", folder / "jobs.db", "--limit", 24, *NEURONS)
    job = FinishedJob(folder / "jobs.db", GREATER_THAN, planted_model, command, patchgrid(*command))
    assert job.result.exit_code == 0, job.result.stderr
    result = job.ask("job", "missed", "last", "--pairs", 16)
    assert result.exit_code == 0, result.stderr
    return job


def stored(job: FinishedJob) -> dict[tuple[int, int], bytes]:
    """Return what is stored of each pair and round."""
    with Database.open(f"sqlite:///{job.database}") as database, database.read() as session:
        rows = session.execute(select(missed_table)).all()
    return {(row.pair_index, row.round): row.data for row in rows}


def test_a_planted_neuron_is_found_and_no_other_is_above_the_bound(bounded: FinishedJob) -> None:
    """By brute force: the planted one, and every eighth of the others, patched alone in every pair."""
    [found] = bounded.ask_items("results", "missed", "last", "-k", 3000)
    rows = {row["component"]: row for row in found["largest"]}
    engine = Engine.load(bounded.model, device="cpu", dtype="float32")
    names = [HIDDEN, *(name for name in list(rows)[::8] if name not in (HIDDEN, SWITCH))]
    hidden, *others = engine.patch(list(PairFile.open(bounded.pairs))[:24], names).mean(0)
    assert hidden > 5
    assert abs(rows[HIDDEN]["mean"]) < 0.1
    assert rows[HIDDEN]["stands_out"]
    assert rows[HIDDEN]["ci_low"] > 1
    assert np.abs(others).max() <= found["bound"] < hidden
    assert {name for name, row in rows.items() if row["stands_out"]} <= {HIDDEN, SWITCH}
    assert found["components"] == len(rows) == 2048
    assert (found["pairs"], found["subsets"], found["blocks"]) == (16, 64, 16)


def test_the_bound_stands_below_the_table_of_components(bounded: FinishedJob) -> None:
    """And says what to patch; with more confidence it is larger."""
    for command in (("results", "top", "last"), ("results", "missed", "last")):
        said = bounded.ask(*command).stderr
        assert "Of 2,048 neurons patched in fewer than 3 pairs, none besides" in said
        assert "logit_diff (95 %; 64 subsets on each of 16 pairs)" in said
    shown = bounded.ask("results", "missed", "last")
    assert HIDDEN in shown.stderr.splitlines()[-1].partition("job refine 1 --components ")[2]
    assert "stands out" in shown.stdout
    [usual], [sure] = (
        bounded.ask_items("results", "missed", "last", "--confidence", share) for share in (0.95, 0.999)
    )
    assert sure["bound"] > usual["bound"]


def test_a_workspace_shows_it(bounded: FinishedJob) -> None:
    """A row a component."""
    with Workspace(bounded.database) as workspace:
        rows = workspace.job("last").missed(k=3, frame="pandas")
    assert HIDDEN in set(rows.component[rows.stands_out])
    assert len(rows) == 3
    assert rows.none_above.nunique() == 1


def test_what_is_stored_is_not_measured_again(tiny: Path, tmp_path: Path) -> None:
    """More subsets and more pairs add to it; a run that is stopped resumes, to the same numbers."""
    job = finished_job(tmp_path, tiny, *NEURONS)
    engine = Engine.load(tiny, device="cpu", dtype="float32")
    measured: list[int] = []
    patch = engine.patch_cells

    def counted(pairs: Sequence[object], cells: Sequence[object], **options: object) -> object:
        measured.append(len(cells))
        return patch(pairs, cells, **options)  # type: ignore[arg-type]

    engine.patch_cells = counted  # type: ignore[method-assign, assignment]
    with Database.open(f"sqlite:///{job.database}") as database:

        def measure(subsets: int, pairs: int, **options: Any) -> Done:
            with database.read() as session:
                plan = plan_missed(session, 1, Wanted(subsets=subsets, pairs=pairs))
            return measure_missed(database, engine, plan, **options)

        assert measure(32, 6).pairs == 6
        first = stored(job)
        assert sum(measured) == 6 * 32
        stop = Event()
        assert measure(64, 10, stop=stop, on_pairs=lambda *_: stop.set()).stopped
        assert not measure(64, 10).stopped
        after = stored(job)
        assert first.items() <= after.items()
        assert len(after) == 10 * 4
        before = len(measured)
        assert measure(64, 10).pairs == 0
        assert len(measured) == before
    again = job.ask("job", "missed", "last", "--pairs", 10)
    assert "All of these subsets are already measured" in again.stderr
    assert "Loading" not in again.stderr
    alone = finished_job(tmp_path_of(tmp_path), tiny, *NEURONS)
    assert alone.ask("job", "missed", "last", "--pairs", 10).exit_code == 0
    one, other = (ask_bound(each) for each in (job, alone))
    assert one == pytest.approx(other, rel=1e-4)


def tmp_path_of(path: Path) -> Path:
    """Make a folder beside another's files."""
    (path / "alone").mkdir()
    return path / "alone"


def ask_bound(job: FinishedJob) -> float:
    """Return the bound on neurons."""
    [found] = job.ask_items("results", "missed", "last")
    return float(found["bound"])


def test_what_was_patched_alone_in_three_pairs_is_in_no_subset(tiny: Path, tmp_path: Path) -> None:
    """Neither in those nor among what is bounded."""
    job = finished_job(tmp_path, tiny, "--sites", "z,mlp_post", "--exact", "0.02")
    assert job.ask("job", "missed", "last", "--subsets", 32).exit_code == 0
    rows = job.ask_items("results", "top", "last", "-k", 500, "--site", "mlp_post")
    few = {row["component"] for row in rows if row["exact_n"] < 3}
    [found] = job.ask_items("results", "missed", "last", "-k", 500)
    assert {row["component"] for row in found["largest"]} == few
    assert 0 < found["components"] == len(few) < 144


def test_a_job_without_subsets_says_so(tiny: Path, tmp_path: Path) -> None:
    """And how to measure some."""
    job = finished_job(tmp_path, tiny, "--exact", "0", count=3)
    asked = job.ask("results", "missed", "last")
    assert asked.exit_code == 0
    assert "No subsets were patched; measure some: patchgrid job missed 1" in asked.stderr
    assert job.ask_items("results", "missed", "last") == []


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        (("--site", "mlp_out"), {}, "unknown site of this job 'mlp_out'"),
        (
            ("--site", "z"),
            {},
            "job 1 has patched 12 of 12 components of z in three pairs or more: none are left to bound",
        ),
        ((), {"state": JobState.RUNNING}, "job 1 is running: wait until it is done"),
        ((), {"state": JobState.PAUSED}, "job 1 is paused: wait until it is done"),
        ((), {"state": JobState.CANCELLED}, "job 1 is cancelled: reopen it"),
        (("--pairs", "1"), {}, "1 is not in the range x>=2"),
        (("--subsets", "16"), {}, "16 is not in the range 32<=x<=4096"),
    ],
)
def test_what_cannot_be_bounded_is_refused(
    tiny: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    changes: dict[str, str],
    words: str,
) -> None:
    """In one line, before the model is loaded; nothing is stored."""
    job = finished_job(tmp_path, tiny, "--sites", "z", "--exact", "1", count=3)
    if changes:
        with Database.open(f"sqlite:///{job.database}") as database, database.write() as session:
            session.execute(job_table.update().values(changes))
    result = job.ask("job", "missed", "last", *options)
    assert result.exit_code in (1, 2)
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    assert "Loading" not in result.stderr
    assert stored(job) == {}


def test_edges_are_bounded(tiny: Path, tmp_path: Path) -> None:
    """Every edge's own mean effect, patched alone, is below the bound, or the edge is named."""
    job = finished_job(tmp_path, tiny, "--sites", "edge", "--method", "eap", "--exact", "0", count=8)
    result = job.ask("job", "missed", "last", "--pairs", 8)
    assert result.exit_code == 0, result.stderr
    [found] = job.ask_items("results", "missed", "last", "-k", 10_000)
    engine = Engine.load(job.model, device="cpu", dtype="float32")
    assert {row["component"] for row in found["largest"]} == set(engine.graph.names)
    effects = engine.patch(list(PairFile.open(job.pairs)), engine.graph.names).mean(0)
    apart = {row["component"] for row in found["largest"] if row["stands_out"]}
    others = [
        abs(value) for name, value in zip(engine.graph.names, effects, strict=True) if name not in apart
    ]
    assert max(others) <= found["bound"]
    assert f"Of {engine.graph.count:,} edges patched in fewer than 3 pairs, none" in result.stderr
    with Workspace(job.database) as workspace:
        rows = workspace.job("last").missed(k=2, frame="polars").to_dicts()
    assert rows[0]["component"] == found["largest"][0]["component"]


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """A model that was trained on since is another."""
    folder = save_model("gpt2", tmp_path).folder
    job = finished_job(tmp_path, folder, *NEURONS, count=3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.transformer.h[0].mlp.c_proj.weight.data *= 1.5
    model.save_pretrained(folder)
    result = job.ask("job", "missed", "last")
    assert "job 1 was started with different weights" in refused(result)
    assert stored(job) == {}


def test_other_sites_are_named(tiny: Path, tmp_path: Path) -> None:
    """Heads by default where there are no neurons, MLPs on request, whatever is put in."""
    options = ("--sites", "z,mlp_out", "--source", "mean", "--positions", "keep", "--exact", "0")
    job = finished_job(tmp_path, tiny, *options, count=6)
    assert "Of 12 heads at z patched in" in job.ask("job", "missed", "last").stderr
    refusal = job.ask("job", "missed", "last", "--site", "mlp_out")
    assert "has patched 0 of 3 components of mlp_out in three pairs or more: 3 are too few" in refusal.stderr
