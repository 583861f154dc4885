"""Requests to a server: a method per path, which returns the response's document."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from patchgrid.api.client.http import events
from patchgrid.api.client.http.answers import document
from patchgrid.api.client.http.errors import (
    NotAllowed,
    NotAuthorised,
    NotPatchgrid,
    NotThere,
    TooLarge,
)
from patchgrid.api.client.http.http import Connection
from patchgrid.api.client.http.upload import Passed, Upload

#: A job's id or name, or `last`.
Name = int | str
Document = dict[str, Any]
#: Items per request; of jobs, and of exactly patched cells.
PAGE, JOBS_PAGE, CELLS_PAGE = 1000, 200, 20_000
#: The scopes that submitting takes: one of them.
_MAY_SUBMIT = ("submit", "admin")


class Service:
    """A server's paths."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._get = connection.get

    def access(self) -> Document:
        """Return the token's scopes and the server's limits; `NotPatchgrid` for another kind of server."""
        try:
            document = self._get("/v1/access")
        except NotThere:
            document = None
        if not isinstance(document, dict) or "scopes" not in document:
            raise NotPatchgrid(f"{self.connection.address.url} is not a patchgrid server")
        return document

    def may_submit(self, size: int, pairs: int) -> None:
        """Refuse, before anything is sent, what the server would refuse."""
        access = self.access()
        if not access["scopes"]:
            raise NotAuthorised("the server requires a token (set PATCHGRID_TOKEN)")
        if not set(_MAY_SUBMIT) & set(access["scopes"]):
            raise NotAllowed(
                f"the token {access.get('token')!r} may only read: submitting needs scope submit"
            )
        limits = access.get("limits") or {}
        for what, amount, most in (
            ("bytes", size, limits.get("upload_bytes")),
            ("pairs", pairs, limits.get("pairs")),
        ):
            if most is not None and amount > most:
                raise TooLarge(f"{amount:,} {what} exceed the server's limit ({most:,})")

    def models(self) -> list[Document]:
        """Return the models that jobs can be submitted for."""
        return list(self._items("/v1/models"))

    def jobs(
        self, *, state: str | None = None, model: str | None = None, search: str | None = None
    ) -> Iterator[Document]:
        """Return the jobs, the newest first."""
        filters = {"state": state, "model": model, "search": search, "limit": JOBS_PAGE}
        return self._items("/v1/jobs", filters)

    def job(self, name: Name) -> Document:
        """Return a job with its provenance, its workers and the warnings of its pairs."""
        document = self._get(self.path(name))
        if not isinstance(document, dict) or "job" not in document:
            raise NotPatchgrid(f"{self.connection.address.url} did not return a job")
        return document

    def path(self, name: Name, behind: str = "") -> str:
        """Return a job's path; a name that does not fit in a path is looked up first."""
        text = str(name)
        if "/" in text or text in ("", ".", ".."):
            jobs = self.jobs(search=text) if text else ()
            same = [each["job"] for each in jobs if each["name"] == text]
            if len(same) != 1:
                what = f"{len(same)} jobs are named" if same else "no job"
                raise NotThere(f"{what} {text!r}: see `patchgrid job list`")
            text = str(same[0])
        return f"/v1/jobs/{quote(text, safe='')}{behind}"

    def submit(
        self,
        file: Path,
        spec: Mapping[str, Any],
        *,
        name: str = "pairs",
        key: str,
        passed: Passed = lambda _gone, _all: None,
    ) -> Document:
        """Send a pair file; once stored, resubmitting it finds the job. `key` makes retrying safe."""
        upload = Upload(file, name, spec, key, passed)
        try:
            answer = document(self.connection.send(upload.request, again=True))
        finally:
            upload.close()
        if not isinstance(answer, dict) or "created" not in answer:
            raise NotPatchgrid(f"{self.connection.address.url} did not say whether the job is new")
        return answer

    def change(self, job: Name, what: str, *, everyone: bool = False) -> Document:
        """Pause, resume, cancel or retry a job; return it. `everyone`: for all of its owners."""
        params = {"everyone": "true"} if everyone else None
        document = self._get(self.path(job, f"/{what}"), params, method="POST")
        if not isinstance(document, dict):
            raise NotPatchgrid(f"{self.connection.address.url} did not return a job")
        return document

    def refine(self, job: Name, asked: Mapping[str, Any]) -> Document:
        """Patch more of a job that is done; return it."""
        body = dict(asked)
        document = self._get(self.path(job, "/refine"), method="POST", again=False, body=body)
        if not isinstance(document, dict):
            raise NotPatchgrid(f"{self.connection.address.url} did not return a job")
        return document

    def refinements(self, job: Name) -> list[Document]:
        """Return a job's refinements, each with what came of it."""
        return list(self._mapping(self.path(job, "/refinements"), {})["items"])

    def delete(self, job: Name, *, everyone: bool = False) -> list[str]:
        """Delete a job with all its results; return the names of other owners, for whom it is kept."""
        params = {"everyone": "true"} if everyone else None
        document = self._get(self.path(job), params, method="DELETE", again=False)
        return list(document["remaining_owners"]) if isinstance(document, dict) else []

    def components(self, job: Name, *, most: int | None = None, **params: Any) -> Iterator[Document]:
        """Yield a job's components: `site`, `method`, `kind`, `interval`, `simultaneous`, `by`, `search`."""
        params |= {"simultaneous": _flag(params.get("simultaneous"))}
        return self._items(self.path(job, "/components"), {**params, "limit": min(PAGE, most or PAGE)})

    def furthest(self, job: Name, **params: Any) -> list[Document]:
        """Return the cells whose scores are furthest from their effects: `site`, `method`, `limit`."""
        return list(self._mapping(self.path(job, "/furthest"), params)["items"])

    def missed(self, job: Name, **params: Any) -> list[Document]:
        """Return bounds on rarely patched components: `site`, `confidence`, `limit`."""
        return list(self._mapping(self.path(job, "/missed"), params)["items"])

    def groups(self, job: Name, **params: Any) -> Document:
        """Return a job's components by group of pairs: `site`, `method`, `component`, `limit`."""
        return self._mapping(self.path(job, "/groups"), params)

    def coverage(self, job: Name, site: str | None = None) -> Document:
        """Return the facts beside the components: how many cells were patched exactly."""
        return self._mapping(self.path(job, "/components"), {"site": site, "limit": 1})

    def heatmap(self, job: Name, *, site: str, kind: str, method: str | None = None) -> Document:
        """Return a site's heatmap."""
        params = {"site": site, "kind": kind, "method": method}
        return self._mapping(self.path(job, "/heatmap"), params)

    def verification(self, job: Name, *, top_k: int = 10, method: str | None = None) -> Document:
        """Return how scores agree with exact patching, and what both cost."""
        params = {"top_k": top_k, "method": method}
        return self._mapping(self.path(job, "/verification"), params)

    def pairs(self, job: Name, *, most: int | None = None, **params: Any) -> Iterator[Document]:
        """Return a job's pairs as summaries: `state`, `search`, `name`."""
        return self._items(self.path(job, "/pairs"), {**params, "limit": min(PAGE, most or PAGE)})

    def row_of(self, job: Name, pair: Name) -> int | None:
        """Return the row of a pair by its id, else by its row number; None if there is no such pair."""
        pair_line = next(iter(self._items(self.path(job, "/pairs"), {"name": str(pair)})), None)
        return None if pair_line is None else int(pair_line["row"])

    def pair(self, job: Name, row: int, method: str | None = None) -> Document:
        """Return everything stored about the pair in a row."""
        return self._mapping(self.path(job, f"/pairs/{row}"), {"method": method})

    def exact(self, job: Name, *, most: int | None = None, **params: Any) -> Iterator[Document]:
        """Yield the cells that were patched exactly: `site`, `method`, `component`."""
        limit = min(CELLS_PAGE, most or CELLS_PAGE)
        return self._items(self.path(job, "/exact"), {**params, "limit": limit})

    def export(
        self, job: Name, what: str, form: str, method: str | None = None, *, normalise: bool = False
    ) -> AbstractContextManager[httpx.Response]:
        """Return an export whose body is still to be read."""
        params = {"what": what, "format": form, "method": method, "normalise": _flag(normalise)}
        return self.connection.stream(self.path(job, "/export"), params)

    def follow(
        self, job: Name, *, every: float = 1.0, latest: Document | None = None
    ) -> Generator[Document, None, None]:
        """Yield a job's state at each change and at intervals until it ends, starting from `latest`."""
        return events.follow(self.connection, self.path(job, "/events"), every=every, latest=latest)

    def workers(self) -> list[Document]:
        """Return the workers."""
        return list(self._items("/v1/workers"))

    def queue(self) -> list[Document]:
        """Return the queue of each model."""
        return list(self._items("/v1/queue"))

    def metrics(self) -> str:
        """Return the metrics in Prometheus' text format."""
        with self.connection.stream("/metrics") as answer:
            return answer.read().decode()

    def _items(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Document]:
        return self.connection.pages(path, params)

    def _mapping(self, path: str, params: Mapping[str, Any]) -> Document:
        document = self._get(path, params)
        if not isinstance(document, dict):
            raise NotPatchgrid(f"{self.connection.address.url}{path} returned an unexpected response")
        return document


def _flag(value: object) -> str | None:
    """Write a switch as a query has it; off is the default, which an older server knows, too."""
    return "true" if value else None
