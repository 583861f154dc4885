"""Jobs on a tiny model, from pairs to exported rows, worked off in this process."""

import itertools
from collections.abc import Sequence
from typing import Any

from patchgrid.core.types import JobSpec, Pair
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import FIELDS, export_rows
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.measuring.isolate import MeasurePart
from patchgrid.workers.measuring.models import Engine
from support.engine.vocabulary import NAMES

_TEMPLATES = (
    "When {a} and {b} went to the shop, {x} gave a {thing} to",
    "Then {a} and {b} took the {thing} and {x} said that it was",
    "The {thing} of {a} and {b} was red and {x} gave it to",
    "{a} and {b} gave {x} the old {thing} and",
    "Then in the park the big old {thing} was {a} and {x} and then {b} took it to",
)
_THINGS = ("ball", "book", "cat", "dog")
_PLACES = tuple(itertools.product(_TEMPLATES, _THINGS, itertools.permutations(NAMES, 2)))
#: What is exported to its rows.
Exported = dict[str, list[dict[str, Any]]]
#: What no tokenizer can make a pair of: the prompts differ in length.
MISMATCHED = Pair("Mary took the book", "John took the red book", " and", " to", id="mismatched")
#: A pair whose correct answer is two tokens.
LONG_ANSWER = Pair("Mary took the book", "John took the book", " and then", " to", id="long answer")


def make_pairs(count: int) -> list[Pair]:
    """Return pairs of the tiny vocabulary, 8 to 18 tokens long, in mixed order; up to 1,120 are distinct."""
    return [_pair(*_PLACES[index * 691 % len(_PLACES)]) for index in range(count)]


def _pair(template: str, thing: str, names: tuple[str, str]) -> Pair:
    a, b = names
    clean, corrupted = (template.format(a=a, b=b, x=x, thing=thing) for x in (b, a))
    return Pair(clean, corrupted, f" {a}", f" {b}")


def submit(
    database: Database,
    spec: JobSpec,
    pairs: Sequence[Pair],
    *,
    chunk_size: int = 64,
    spans: tuple[str, ...] = (),
    key: str = "key",
) -> JobRecord:
    """Write a job of these pairs."""
    with database.write() as session:
        return jobs.submit(
            session, spec, pairs, key=key, count=len(pairs), spans=spans, chunk_size=chunk_size
        )


def exported(database: Database, job: JobRecord) -> Exported:
    """Return every row that the job exports."""
    kept = [what for what in FIELDS if not (what == "scores" and job.spec.detail == "summary")]
    kept = [what for what in kept if not (what == "exact" and not job.spec.patches)]
    return {what: list(export_rows(database, job, what)) for what in kept}


def measuring(engine: Engine, job: JobRecord) -> MeasurePart:
    """Return what measures a job's pairs with their scores."""
    return lambda first, pairs, on_share: measure_chunk(engine, job, first, pairs, on_share=on_share)


def job_of(spec: JobSpec, count: int, *, spans: tuple[str, ...] = ()) -> JobRecord:
    """Return a job of this many pairs before any work, without a database."""
    return JobRecord(
        id=1,
        key="key",
        name=None,
        spec=spec,
        state="running",
        spans=spans,
        pairs=count,
        chunk_size=64,
        priority=0,
        created_at=0.0,
        started_at=0.0,
        finished_at=None,
        error=None,
    )
