"""Every operation of the OpenAPI document, asked with what it allows and with what it does not."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from patchgrid.api.server.app import make_app
from patchgrid.api.service.settings import AllowedModel, ServerSettings
from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from support.api.api_jobs import fill
from support.storage.storage_backends import sqlite_url

_QUIET = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.filter_too_much,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
#: Method and path of each operation; the document needs no database.
OPERATIONS = sorted(
    (method, path)
    for path, methods in make_app(cast("Database", None)).openapi()["paths"].items()
    for method in methods
)
#: The same questions each time.
_OPTIONS: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": _QUIET,
    "database": None,
}


def _serving_on(app: Any) -> Any:
    """Yield an application that stays open between requests."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})

    return answer


def _schema(folder: Any, *, filled: bool) -> Iterator[Any]:
    with Database.open(sqlite_url(folder)) as database:
        if filled:
            fill(database, "sqlite")
        with database.write() as session:
            _, text = tokens.create(session, "tester", ["admin"])
        limits = ServerSettings(models=(AllowedModel("a/model"),), requests_per_second=1e9, look_every=0.02)
        found = schemathesis.openapi.from_asgi("/openapi.json", _serving_on(make_app(database, limits)))
        found.token = text
        yield found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of an application with an empty database."""
    yield from _schema(tmp_path_factory.mktemp("empty"), filled=False)


@pytest.fixture(scope="module")
def with_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of an application with a job of each kind."""
    yield from _schema(tmp_path_factory.mktemp("jobs"), filled=True)


#: Operations whose body no schema describes in full.
_FREE = (("post", "/v1/jobs"), ("post", "/v1/jobs/{job}/refine"))


def hold(schema: Any, operation: tuple[str, str], mode: GenerationMode, count: int) -> None:
    """Ask an operation so many times, and hold the answers to what is declared."""
    method, path = operation
    strategy = schema[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=count, **_OPTIONS)
    @given(case=strategy)
    def ask(case: Case) -> None:
        if mode == GenerationMode.POSITIVE:
            # Only what an answer before gave is a cursor.
            (case.query or {}).pop("cursor", None)
        # What a pair file must hold, which models there are, how components are named, and which sites and
        # methods a job has, no schema says.
        unsaid = operation in _FREE or {"site", "method"} & (case.query or {}).keys()
        left_out = [positive_data_acceptance] if unsaid else []
        # Too much to be a token is refused by its length (413), which the check does not know of.
        too_long = path == "/session" and len(json.dumps(case.body, default=repr)) > 4000
        # A parameter with an empty list for a value is not sent: what is wrong with it never arrives.
        unsent = any(value == [] for value in (case.query or {}).values())
        left_out += [negative_data_rejection] if too_long or unsent else []
        headers = {"Authorization": f"Bearer {schema.token}"}
        case.call_and_validate(headers=headers, excluded_checks=left_out)

    # An operation without any parameter has nothing that could be wrong.
    with suppress(Unsatisfiable):
        ask()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_answers_of_an_empty_server_are_as_declared(
    empty: Any, operation: tuple[str, str], mode: GenerationMode
) -> None:
    """Statuses, types and documents; what is allowed is accepted, what is not is refused."""
    hold(empty, operation, mode, 8)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_answers_about_jobs_are_as_declared(
    with_jobs: Any, operation: tuple[str, str], mode: GenerationMode
) -> None:
    """The same where there are jobs of every kind."""
    hold(with_jobs, operation, mode, 8)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_answers_at_length_are_as_declared(
    with_jobs: Any, operation: tuple[str, str], mode: GenerationMode
) -> None:
    """Twenty times as many questions."""
    hold(with_jobs, operation, mode, 160)
