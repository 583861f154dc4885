"""A database with a job of each kind that the HTTP service answers about, without a model."""

from dataclasses import dataclass

from patchgrid.core.types import Pair
from patchgrid.estimates import Rounding
from patchgrid.storage import Database
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import WorkerInfo, WorkerStatus
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.storage_backends import run_chunk, run_job, submit_job

#: Prompts that HTML, SQL, CSV and terminals could trip over.
_ODD = (
    '<script>alert("1")</script>',
    "'; DROP TABLE job; --",
    '=cmd|"/c calc"!A1',
    "a\u202eb\x1b[31m {{7*7}}",
)


@dataclass(frozen=True)
class Filled:
    """A database and its jobs."""

    backend: str
    database: Database
    #: Two methods, named pairs, of which two failed and one is warned about; odd prompts.
    finished: JobRecord
    #: Positions kept, by named spans.
    spanned: JobRecord
    #: Nothing of single pairs, nothing exact.
    summary: JobRecord
    #: Edges by two methods.
    edges: JobRecord
    #: One chunk of three is done.
    running: JobRecord
    #: No worker has begun it.
    pending: JobRecord

    @property
    def ended(self) -> tuple[JobRecord, ...]:
        """The jobs that are done."""
        return self.finished, self.spanned, self.summary, self.edges


def fill(database: Database, backend: str) -> Filled:
    """Write the jobs."""
    first = submit_job(
        database,
        pairs=_named(14),
        spec=make_spec(method="atp,ig", sites=("z", "mlp_out"), exact=0.5),
        key="finished",
        name="first",
    )
    spec = make_spec(positions="keep", detail="positions", exact=0.4)
    spanned = submit_job(
        database, pairs=make_pairs(9, spans=True), spec=spec, key="spanned", spans=("subject",)
    )
    summary = submit_job(database, 9, spec=make_spec(detail="summary", exact=0.0), key="summary")
    edges = submit_job(
        database, 7, spec=make_spec(sites=("edge",), method="eap,eap-ig", exact=0.2), key="edges"
    )
    running = submit_job(database, 10, key="running", name="second")
    pending = submit_job(database, 5, spec=make_spec(model="an/other"), key="pending", priority=3)
    run_chunk(database, running)
    _register(database)
    return Filled(
        backend,
        database,
        run_job(
            database,
            first,
            failed={3, 9},
            warned={4: "an answer lacks its space"},
            rounding=Rounding.of([0.02, -0.02]),
        ),
        run_job(database, spanned),
        run_job(database, summary),
        run_job(database, edges),
        running,
        pending,
    )


def _named(count: int) -> list[Pair]:
    pairs = make_pairs(count, named=True)
    odd = [Pair(f"{text} x", f"{text} y", " a", " b", id=f"odd-{index}") for index, text in enumerate(_ODD)]
    return [*pairs[: count - len(odd)], *odd]


def _register(database: Database) -> None:
    info = WorkerInfo("node/1/1", "node", 1, "cpu", ("a/model", "an/other"))
    with database.write() as session:
        workers.beat(session, workers.register(session, info), WorkerStatus("idle", chunks=3, pairs=12))
