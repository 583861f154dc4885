"""A workspace: where jobs and their results live."""

import os
import threading
import warnings
from contextlib import contextmanager, nullcontext
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from patchgrid.api.client import environment, html
from patchgrid.api.client.backends.backend import Backend
from patchgrid.api.client.engines import as_engine, check_model, load_engine
from patchgrid.api.client.errors import NotHere
from patchgrid.api.client.http.address import Address
from patchgrid.api.client.job import Job
from patchgrid.api.client.orders.order import order_of
from patchgrid.api.client.progress_bar import progress_bar
from patchgrid.core.errors import SpecError
from patchgrid.core.names import IN_MEMORY
from patchgrid.core.plain import plain
from patchgrid.core.states import ENDED_JOBS, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from threading import Event

    from patchgrid.api.client.backends.database import DatabaseBackend
    from patchgrid.api.client.backends.server import ServerBackend
    from patchgrid.engine import Engine
    from patchgrid.storage.access.submitting import Order
    from patchgrid.storage.jobs.progress import Progress
    from patchgrid.workers.progress import RunProgress


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


class Workspace:
    """Where jobs and their results live: a database, or a server in front of one.

    `Workspace("patchgrid.db")`, `Workspace("postgresql+psycopg://…")`, `Workspace("https://server")`; may be
    used in a `with` statement, and by several threads. Everything below works on each of them, but `run`,
    which measures in this process and needs the database itself.

    Parameters
    ----------
    place
        A database's file or URL, or a server's URL; None: the environment's (PATCHGRID_SERVER or
        PATCHGRID_DB), else `patchgrid.db` in the current folder.
    token
        A server's token; None: the environment's (PATCHGRID_TOKEN).
    broker
        Broker to which messages for new jobs are sent; None: the environment's (PATCHGRID_BROKER), else none.
    user
        The owner whose jobs are searched first and who owns submitted jobs, on a database; None: the
        environment's (PATCHGRID_USER), else the system's.

    Errors are `PatchgridError`s, which say what to do. A database is opened when it is first needed, and
    made by the first `run` or `submit`.
    """

    def __init__(
        self,
        place: "str | os.PathLike[str] | None" = None,
        *,
        token: str | None = None,
        broker: str | None = None,
        user: str | None = None,
    ) -> None:
        self.place = place_of(place)
        self._broker = broker or os.environ.get(environment.BROKER_VARIABLE) or None
        self._user = user or os.environ.get(environment.USER_VARIABLE) or environment.system_user()
        self._opening = threading.Lock()
        self._server = _server(self.place, token) if _is_server(self.place) else None
        self._database: DatabaseBackend | None = None

    def run(
        self,
        pairs: Any,
        *,
        model: Any = None,
        tokenizer: Any = None,
        engine: "Engine | None" = None,
        device: str = "auto",
        batch_tokens: int | None = None,
        progress: bool = True,
        **query: Any,
    ) -> Job:
        """Measure pairs in this process, with a bar unless `progress` is False; return the finished job.

        Pairs that were measured this way already are not measured again, and a run that was interrupted
        resumes. `model` is a hub id or a folder, or a Hugging Face or nnsight model that is in memory, with
        its `tokenizer`; `engine` is an `Engine` in place of it. A model in memory is told from others by its
        weights: `run` with other weights is another job. `device` and `batch_tokens` change the speed, not
        the numbers. The rest is as for `submit`. Warns (`PairWarning`) as `submit` and `Job.wait` do.

        Raises
        ------
        NotHere
            The workspace is a server: `submit` has its workers measure.
        ModelError, SpecError, PairFileError
            A model that cannot be loaded, a setting that it does not support, pairs that cannot be read.
            Nothing was stored.
        """
        if self._server is not None:
            raise NotHere(f"cannot measure here into {self.place}: submit(…) has the server's workers do it")
        if (model is None) == (engine is None):
            raise SpecError(
                "give either model, a hub id, a folder or a model in memory, or engine, an Engine", "model"
            )
        if model is not None and not isinstance(model, (str, os.PathLike)):
            engine = as_engine(model, tokenizer)
        query |= {"model": os.fspath(model)} if engine is None else _model_settings(engine, query)

        def load(order: "Order") -> "Engine":
            spec = order.spec
            return engine or load_engine(spec.model, revision=spec.revision, device=device, dtype=spec.dtype)

        with order_of(pairs, query) as order:
            check_model(order.spec.model)
            job_id = self._run(order, lambda: load(order), batch_tokens, shown=progress)
        return self.job(job_id).wait(progress=False)

    def submit(self, pairs: Any, *, model: str, **query: Any) -> Job:
        """Queue pairs for workers; pairs already submitted with the same settings return their job.

        `pairs` is the path of a pair file, a list of `Pair` or of dicts, or a dataframe with columns `clean`,
        `corrupted`, `correct`, `incorrect` (and `id`, `spans`), or with those of a published layout
        (docs/pair-files.md); `columns` names others: `{"correct": "country_idx"}`. `query` is what
        `patchgrid submit` takes: `sites`, `method`, `exact`, `detail`, `positions`, `metric`, `direction`,
        `seed`, … and `name`, `key`, `priority`, `chunk_size`, `limit`. `exact_top` and `certify`, with
        `confidence`, `tolerance`, `max_exact` and `signed`, are patched after the scores (`Job.refine`).
        Warns (`PairWarning`) of rows that were skipped, columns that were ignored and pairs that repeat.

        Raises
        ------
        PairFileError
            Pairs that cannot be used, each named with what is wrong. Nothing was stored or sent.
        ColumnsError
            Columns for fields that pairs do not have. Nothing was stored or sent.
        SpecError
            A setting that does not exist or does not fit. Nothing was stored or sent.
        """
        with order_of(pairs, {**query, "model": model}) as order:
            check_model(order.spec.model)
            backend = self._open_backend(create=True)
            snapshot = backend.submit(order).snapshot
        if snapshot.job.state not in (*ENDED_JOBS, JobState.PAUSED):
            backend.wake(snapshot.job.id)
        return self.job(snapshot.job.id)

    def job(self, name: int | str = "last") -> Job:
        """Return a job by its id or name, or the newest one; a `LookupError` if there is none."""
        return Job.find(self._open_backend(), name)

    def jobs(
        self,
        *,
        state: str | None = None,
        model: str | None = None,
        search: str | None = None,
        limit: int = 100,
    ) -> Jobs:
        """List jobs, newest first; `search` looks in ids, names and models."""
        backend = self._open_backend()
        records = backend.jobs(state=state, model=model, search=search)
        return Jobs(Job(backend, record, progress) for record, progress in islice(records, limit))

    def workers(self) -> list[dict[str, Any]]:
        """List the workers of the last day, and what each does."""
        return [plain(each) for each in self._open_backend().workers()]

    def models(self) -> dict[str, int]:
        """Return the models that jobs can be submitted for, with the number of workers serving each."""
        return dict(self._open_backend().models())

    def close(self) -> None:
        """Close all connections."""
        for backend in (self._server, self._database):
            if backend is not None:
                backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Workspace {self.place if self._server is not None else _without_password(self.place)}>"

    def _open_backend(self, *, create: bool = False) -> Backend:
        """Return the open database or server."""
        return self._opened(create=create) if self._server is None else self._server

    def _opened(self, *, create: bool = False) -> "DatabaseBackend":
        """Return the open database, created or upgraded if `create`."""
        from patchgrid.api.client.backends.database import DatabaseBackend
        from patchgrid.storage import Database

        with self._opening:
            if self._database is None:
                database = Database.open(self.place, create)
                self._database = DatabaseBackend(database, self._broker, user=self._user)
            return self._database

    def _run(
        self, order: "Order", load: "Callable[[], Engine]", batch_tokens: int | None, *, shown: bool
    ) -> int:
        from patchgrid.api.client.measuring import load_once, open_for, run_order
        from patchgrid.api.client.pace import Clock

        @contextmanager
        def bar(begun: "Progress", _stop: "Event") -> "Iterator[Callable[[RunProgress], None]]":
            clock = Clock(begun.total, begun.reached)
            with progress_bar(shown=shown) as show:

                def report(now: "RunProgress") -> None:
                    pace = clock.pace(now)
                    show(pace.reached, pace.total, pace.words)

                yield report

        load, stop = load_once(load, order.spec.query), threading.Event()
        backend = open_for(load, lambda create: self._opened(create=create))
        return run_order(
            backend.database,
            order,
            backend.user,
            load,
            shown=bar,
            stop=lambda: nullcontext(stop),
            batch_tokens=batch_tokens,
        ).job.id


def place_of(place: "str | os.PathLike[str] | None") -> str:
    """Return the URL of a database or a server; defaults to the environment's."""
    if place is None:
        named = os.environ.get(environment.SERVER_VARIABLE) or os.environ.get(environment.DATABASE_VARIABLE)
        place = named or environment.DEFAULT_DATABASE
    text = os.fspath(place)
    return text if "://" in text else f"sqlite:///{text}"


def _is_server(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _server(url: str, token: str | None) -> "ServerBackend":
    from patchgrid.api.client.backends.server import ServerBackend
    from patchgrid.api.client.http.http import Connection
    from patchgrid.api.client.http.service import Service

    address = Address.read(url, token)
    if address.warning is not None:
        warnings.warn(address.warning, stacklevel=3)
    return ServerBackend(Service(Connection(address)))


def _without_password(url: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(a URL that cannot be read)"


def _model_settings(engine: "Engine", query: "Mapping[str, Any]") -> dict[str, Any]:
    """Name an engine's model as a job does; `SpecError` where the query names another number type."""
    made, named = engine.provenance, query.get("dtype")
    if named not in (None, "auto", made.dtype):
        raise SpecError(f"the engine runs in {made.dtype}, not in {named}: leave dtype out", "dtype")
    settings = {"model": made.model, "dtype": made.dtype}
    in_memory = made.revision is not None and made.revision.startswith(IN_MEMORY)
    return settings | {"revision": made.revision} if in_memory else settings
