"""A patchgrid server, for notebooks and scripts."""

import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from patchgrid.api.client import html
from patchgrid.api.client.http.address import Address
from patchgrid.api.client.http.http import Connection
from patchgrid.api.client.http.service import Document, Service
from patchgrid.api.client.http.variables import SERVER_VARIABLE
from patchgrid.api.client.job import Job
from patchgrid.api.client.pair_input import pair_file
from patchgrid.api.client.submission import send
from patchgrid.core.errors import SpecError
from patchgrid.core.names import check_name
from patchgrid.core.query import as_names
from patchgrid.core.types import JobSpec
from patchgrid.storage.access.submitting import Order

#: What `Client.submit` takes beside the pairs.
_SETTINGS = (
    *(field.name for field in dataclasses.fields(JobSpec)),
    *("name", "key", "priority", "chunk_size", "limit"),
)


class Jobs(list[Job]):
    """Jobs that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (
                job.id,
                job.name,
                job.state,
                job.spec["model"],
                f"{job.progress['done']:,}/{job.progress['total']:,}",
            )
            for job in self
        ]
        return html.table(rows, ("id", "name", "state", "model", "pairs done"))


class Client:
    """Asks a server; may be used in a `with` statement, and by several threads.

    `url` is as http://localhost:8000. It and `token` are the environment's (PATCHGRID_SERVER and
    PATCHGRID_TOKEN) if none is given. Errors are `ServerError`s, which say what to do.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        address = Address.read(url or os.environ.get(SERVER_VARIABLE, ""), token)
        if address.warning is not None:
            warnings.warn(address.warning, stacklevel=2)
        self.url = address.url
        self._connection = Connection(address)
        self._service = Service(self._connection)

    def submit(
        self,
        pairs: Any,
        *,
        model: str,
        sites: str | Sequence[str] = (),
        name: str | None = None,
        key: str | None = None,
        priority: int = 0,
        chunk_size: int | None = None,
        limit: int | None = None,
        columns: Mapping[str, str] | str | None = None,
        **spec: Any,
    ) -> Job:
        """Submit pairs; those that are there already under the same spec give the job that they are.

        `pairs` is the path of a pair file, a list of `Pair` or of dicts, or a dataframe with columns `clean`,
        `corrupted`, `correct`, `incorrect` (and `id`, `spans`), or with those of a published layout
        (docs/pair-files.md); `columns` names others: `{"correct": "country_idx"}`. `spec` is the
        rest of what `patchgrid submit` takes: `method`, `exact`, `detail`, `positions`, `metric`,
        `direction`, `seed`, …

        Raises
        ------
        PairFileError
            Pairs that cannot be used, each named with what is wrong. Nothing was sent.
        ColumnsError
            Columns for fields that pairs do not have. Nothing was sent.
        SpecError
            A setting that does not exist or does not fit. Nothing was sent.
        """
        for setting in spec:
            check_name("setting", setting, _SETTINGS, setting)
        try:
            measured = JobSpec(model=_model(model), sites=as_names(sites), **spec)
        except TypeError as error:
            raise SpecError(f"a setting is of a wrong kind: {error}") from None
        with pair_file(pairs, limit=limit, columns=columns) as file:
            found = send(self._service, Order(measured, file, file.check(), name, key, priority, chunk_size))
        return self.job(found["job"])

    def job(self, name: int | str = "last") -> Job:
        """Give a job by its id or name, or the newest one."""
        return Job(self._service, self._service.job(name))

    def jobs(
        self,
        *,
        state: str | None = None,
        model: str | None = None,
        search: str | None = None,
        limit: int = 100,
    ) -> Jobs:
        """Give the jobs, the newest first; `search` looks in names, models and ids."""
        found: Iterable[Document] = self._service.jobs(state=state, model=model, search=search)
        return Jobs(Job(self._service, each) for each, _ in zip(found, range(limit), strict=False))

    def workers(self) -> list[Document]:
        """Give the workers, and what each is at."""
        return self._service.workers()

    def models(self) -> list[Document]:
        """Give the models that may be asked for, each with the number of workers that serve it."""
        return self._service.models()

    def access(self) -> Document:
        """Give what the token allows, and the server's limits."""
        return self._service.access()

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.url}>"


def _model(text: str) -> str:
    """Name a folder by its absolute path, as workers see it where they share the disk; a hub id as it is."""
    folder = Path(text).expanduser()
    return str(folder.resolve()) if folder.is_dir() else text
