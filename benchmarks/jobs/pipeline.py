"""What `patchgrid run` does around its engine, over the engine's own time for the same questions.

One side reads a pair file, submits it, works the job off and reads its results, on an SQLite file; the other
asks the engine what the job asked it, and nothing else. Both cases have a model of their own: the demo model,
for which every effect costs little, and the given one, with scores alone unless --exact says otherwise.
"""

import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from transformers import AutoTokenizer

from benchmarks.common import figures, shapes, timing
from benchmarks.common.options import Setting, benchmark
from benchmarks.common.replay import Recorder
from patchgrid.engine import Engine, JobSpec, Pair, TokenText
from patchgrid.pairs import PairFile
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.results import components, verification
from patchgrid.workers.runner import run_job


@dataclass(frozen=True)
class Case:
    """A job to run again and again."""

    name: str
    engine: Engine
    spec: JobSpec
    pairs: Sequence[Pair]
    #: Tells jobs of the same pairs from one another.
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, database: Database, file: Path, engine: Any = None) -> JobRecord:
        """Take a pair file to stored results, as `patchgrid run` does."""
        with PairFile.open(str(file)) as pairs:
            summary = pairs.check()
            key = jobs.job_key(self.spec, f"{summary.digest} {next(self.numbers)}")
            with database.write() as session:
                job = jobs.submit(session, self.spec, pairs, key=key, count=summary.count)
        run_job(database, self.engine if engine is None else engine, job)
        with database.read() as session:
            components.top(session, job)
            verification.verification(session, job)
            return jobs.get(session, job.id)


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Write a pair file."""

    def plain(answer: Any) -> Any:
        return {"token": answer.text} if isinstance(answer, TokenText) else answer

    with path.open("w", encoding="utf-8") as lines:
        for pair in pairs:
            row: dict[str, Any] = {"clean": pair.clean, "corrupted": pair.corrupted}
            row |= {side: [plain(each) for each in getattr(pair, side)] for side in ("correct", "incorrect")}
            lines.write(json.dumps(row) + "\n")


def check(database: Database, job: JobRecord, case: Case) -> None:
    """Compare the stored means of all components with the engine's own scores."""
    with database.read() as session:
        progress = job_progress(session, job.id)
        stored = [row.mean for row in components.components(session, job)]
    if (job.state, progress.done) != ("done", len(case.pairs)):
        raise SystemExit(f"the job is {job.state}, {progress.done} of {len(case.pairs)} pairs done")
    results = case.engine.attribute(case.pairs, sites=case.spec.query.sites)
    means = [
        np.mean([each.scores["atp"][site].sum(axis=1) for each in results], axis=0)
        for site in case.spec.query.sites
    ]
    alone = np.concatenate([mean.ravel() for mean in means])
    timing.check(np.array(stored, dtype=float), alone, f"{case.name}: stored means")


def measure(case: Case, rounds: int) -> figures.Row:
    """Check one job's numbers and time others, in turn with the engine alone."""
    with tempfile.TemporaryDirectory() as folder, Database.open(f"sqlite:///{folder}/jobs.db") as database:
        file = Path(folder) / "pairs.jsonl"
        write_pairs(file, case.pairs)
        recorder = Recorder(case.engine)
        check(database, case.run(database, file, recorder), case)
        if not len(recorder):
            raise SystemExit(f"{case.name}: the engine was asked nothing")
        times = timing.in_turn(lambda: case.run(database, file), recorder.ask_again, rounds)
    seconds = (1 / rate for rate in times.rates)
    costs = tuple(1 / speedup for speedup in times.speedups)
    return figures.Row(case.name, "engine alone", *seconds, "s", costs, figures.Target(1.1, most=True))


def demo_case(count: int) -> Case:
    """Return the demo model's job, as in `patchgrid demo`."""
    pairs = shapes.read_pairs(shapes.PAIRS, count, AutoTokenizer.from_pretrained(shapes.DEMO))
    spec = JobSpec(str(shapes.DEMO), dtype="float32")
    engine = Engine.load(spec.model, device="cpu", dtype=spec.dtype)
    return Case(f"run of {len(pairs)} pairs, demo model, 5 % exact", engine, spec, pairs)


def given_case(setting: Setting, exact: float) -> Case:
    """Return a job for the given model."""
    pairs, spec = setting.pairs(), JobSpec(setting.folder, dtype="float32", exact=exact)
    share = f"{exact:.0%} exact" if exact else "scores only"
    return Case(f"run of {len(pairs)} pairs, {setting.model}, {share}", setting.engine(), spec, pairs)


@click.command(help=__doc__)
@benchmark(count=64)
@click.option(
    "--demo-count", default=300, show_default=True, help="Pairs for the demo model; 0: not measured."
)
@click.option(
    "--exact", default=0.0, show_default=True, help="Share of cells patched exactly in the given model."
)
def main(setting: Setting, demo_count: int, exact: float) -> None:
    found = setting.figures(demo_count=demo_count, exact=exact)
    if demo_count:
        found.add(measure(demo_case(demo_count), setting.rounds))
    found.add(measure(given_case(setting, exact), setting.rounds))
    found.write(setting.json)


if __name__ == "__main__":
    main()
