"""What stands in a query: a name that nobody knows is refused, not passed over."""

from typing import TYPE_CHECKING, cast

import pytest
from starlette.testclient import TestClient

from patchgrid.api.server.app import make_app
from support.api.api_clients import Api, lines, problem
from support.api.api_jobs import Filled

if TYPE_CHECKING:
    from patchgrid.storage import Database

#: What asks for data or changes it; the others tell everyone the same.
OPERATIONS = sorted(
    (method.upper(), path)
    for path, operations in make_app(cast("Database", None)).openapi()["paths"].items()
    for method in operations
    if path.startswith(("/v1/", "/metrics")) and path != "/v1/access"
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_a_name_that_is_not_known_is_refused(served: Api, operation: tuple[str, str]) -> None:
    """By every operation; nothing is changed."""
    method, path = operation
    served.submit(lines(2))
    admin = served.token("admin")
    before = served.client.get("/v1/jobs", headers=admin).json()
    found = served.client.request(
        method, path.format(job="1", row=0), params={"formt": "csv"}, headers=admin, content=b"x"
    )
    [error] = problem(found, 422)["errors"]
    assert error == {"field": "formt", "detail": "is unknown"}
    assert served.client.get("/v1/jobs", headers=admin).json() == before


def test_a_misspelt_name_is_told_with_the_right_ones(filled: Filled, reading: TestClient) -> None:
    """The nearest first."""
    found = problem(reading.get("/v1/jobs?stat=done"), 422)
    assert found["detail"] == (
        "unknown query parameter 'stat' (did you mean 'state'?); "
        "available: cursor, format, limit, model, search, state"
    )
    found = problem(reading.get("/v1/jobs/1?a=1"), 422)
    assert found["detail"] == "unknown query parameter 'a'; available: none"


def test_a_name_that_is_given_twice_is_refused(filled: Filled, reading: TestClient) -> None:
    """One of the two would be passed over."""
    assert problem(reading.get("/v1/jobs?state=done&state=failed"), 422)["errors"] == [
        {"field": "state", "detail": "appears twice"}
    ]


def test_who_may_not_ask_is_not_told_the_names(served: Api) -> None:
    """The token comes first."""
    served.token("read")
    problem(served.client.get("/v1/jobs?stat=done"), 401)
