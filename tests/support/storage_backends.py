"""The databases that the storage contract is held on, and what tests do with one."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from patchgrid.engine.types import JobSpec, Pair
from patchgrid.storage import Database, jobs, leases
from patchgrid.storage.jobs import JobRecord
from support.chunk_results import chunk_result, make_pairs, make_spec

#: Each runs the whole contract.
BACKENDS = ("sqlite",)


def new_url(backend: str, folder: Path) -> str:
    """Give the URL of a database that does not exist yet."""
    assert backend == "sqlite"
    return f"sqlite:///{folder}/test.db"


def submit_job(
    database: Database,
    count: int = 10,
    *,
    spec: JobSpec | None = None,
    pairs: list[Pair] | None = None,
    key: str | None = None,
    **options: Any,
) -> JobRecord:
    """Submit a job of chunks of 4 pairs."""
    spec = make_spec() if spec is None else spec
    pairs = make_pairs(count) if pairs is None else pairs
    with database.write() as session:
        key = jobs.job_key(spec, f"{len(pairs)} pairs") if key is None else key
        return jobs.submit(session, spec, pairs, key=key, count=len(pairs), **{"chunk_size": 4, **options})


def run_chunk(database: Database, job: JobRecord, **options: Any) -> bool:
    """Claim a chunk of the job and finish it; False if there is none."""
    with database.write() as session:
        lease = leases.claim(session, "worker", job_id=job.id)
        if lease is None:
            return False
        assert leases.finish(session, lease, chunk_result(job, lease, **options))
        return True


def run_job(
    database: Database,
    job: JobRecord,
    *,
    failed: Collection[int] = (),
    warned: Mapping[int, str] | None = None,
) -> JobRecord:
    """Run a job to its end and give it as it then stands."""
    while run_chunk(database, job, failed=failed, warned=warned):
        pass
    with database.read() as session:
        return jobs.get(session, job.id)
