"""The databases that the storage contract is held on, and what tests do with one."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, make_url, select
from sqlalchemy.orm import Session

from patchgrid.core.types import JobSpec, Pair
from patchgrid.pairs.records.digest import Digest
from patchgrid.storage import Database, tables
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import leases
from patchgrid.storage.results import components
from patchgrid.storage.results.components import ComponentRow
from support.machines.servers import postgres_server
from support.storage.chunk_results import chunk_result, make_pairs, make_spec

#: Each runs the whole contract.
BACKENDS = ("sqlite", "postgresql")
#: Names a PostgreSQL server to test on, whose user may make databases, instead of one of our own.
POSTGRES_VARIABLE = "PATCHGRID_TEST_POSTGRES"
_DISCONNECT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: Makes a migrated database as if new, whoever is connected to it. (TRUNCATE makes some hundred files.)
_EMPTY = "; ".join(
    [
        _DISCONNECT,
        *(f"DELETE FROM {table.name}" for table in reversed(tables.metadata.sorted_tables)),
        "SELECT setval(seqrelid::regclass, 1, false) FROM pg_sequence",
    ]
)


def all_jobs(session: Session) -> list[JobRecord]:
    """Return all jobs, the oldest first."""
    rows = session.execute(select(tables.job).where(jobs.THERE).order_by(tables.job.c.id)).mappings()
    return [jobs.record(row) for row in rows]


class PostgresDatabases:
    """Databases of this process on one server."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._numbers = count()
        self._template: str | None = None
        self._spare: str | None = None

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the URL of a migrated database that holds nothing, to whoever does not alter its tables.

        One is emptied and lent again: that takes a hundredth of the time of making one.
        """
        url, self._spare = self._spare or self.new_migrated_url(), None
        yield url
        self.execute(_EMPTY, url)
        self._spare = url

    def new_url(self) -> str:
        """Return the URL of an empty database."""
        return self._url(self._create("template1"))

    def new_migrated_url(self) -> str:
        """Return the URL of a migrated database: a copy, for migrating takes longer than most tests."""
        if self._template is None:
            name = self._create("template1")
            Database.open(self._url(name)).close()
            self._template = name
        return self._url(self._create(self._template))

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement by itself, in the server's own database or that of a URL; give its rows."""
        target = self._server if url is None else make_url(url)
        address = target.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _create(self, template: str) -> str:
        name = f"patchgrid_test_{os.getpid()}_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def _url(self, name: str) -> str:
        return self._server.set(database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        """Remove what is left."""
        if self._spare is not None:
            self.drop(self._spare)
        if self._template is not None:
            self.drop(self._url(self._template))


@contextmanager
def postgres_databases() -> Iterator[PostgresDatabases]:
    """Yield databases on the server that the environment names, else on a temporary one."""
    given = os.environ.get(POSTGRES_VARIABLE)
    if given:
        databases = PostgresDatabases(make_url(given).set(drivername="postgresql+psycopg"))
        try:
            yield databases
        finally:
            databases.close()
    else:
        with postgres_server() as server:
            yield PostgresDatabases(make_url(server.url("postgres")))


def sqlite_url(folder: Path) -> str:
    """Return the URL of a file in a folder."""
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
        key = jobs.job_key(spec, digest_of(pairs)) if key is None else key
        return jobs.submit(session, spec, pairs, key=key, count=len(pairs), **{"chunk_size": 4, **options})


def digest_of(pairs: Iterable[Pair]) -> str:
    """Hash pairs as `PairFile` does."""
    digest = Digest()
    for pair in pairs:
        digest.add(pair)
    return digest.value


def run_chunk(database: Database, job: JobRecord, **options: Any) -> bool:
    """Claim a chunk of the job and finish it; False if there is none."""
    with database.write() as session:
        lease = leases.claim(session, "worker", job_id=job.id)
        if lease is None:
            return False
        assert leases.finish(session, lease, chunk_result(job, lease, **options))
        return True


def run_job(database: Database, job: JobRecord, **options: Any) -> JobRecord:
    """Run a job to its end and give it as it then stands."""
    while run_chunk(database, job, **options):
        pass
    with database.read() as session:
        return jobs.get(session, job.id)


def rows_of(database: Database, job: JobRecord, **options: object) -> dict[tuple[object, ...], ComponentRow]:
    """Return a job's components by site, layer, head and position."""
    with database.read() as session:
        rows = components.components(session, job, **options)  # type: ignore[arg-type]
    return {(row.site, row.layer, row.index, row.position): row for row in rows}
