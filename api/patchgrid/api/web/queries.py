"""The names in a request's query: those that its operation declares, each given once."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastapi import Request

from patchgrid.api.web.problems import Problem
from patchgrid.core.messages import unknown


class Queries:
    """The names that each operation's query may have, as the OpenAPI document has them."""

    def __init__(self, openapi: Callable[[], dict[str, Any]]) -> None:
        self._openapi = openapi

    @cached_property
    def _names(self) -> dict[tuple[str, str], frozenset[str]]:
        return {
            (path, method.upper()): frozenset(
                part["name"] for part in operation.get("parameters", ()) if part["in"] == "query"
            )
            for path, operations in self._openapi()["paths"].items()
            for method, operation in operations.items()
        }

    def check(self, request: Request) -> None:
        """Refuse a name that is misspelt, which would be passed over, and one that is given twice."""
        given = [name for name, _ in request.query_params.multi_items()]
        if not given:
            return
        known = self._names[request.scope["route"].path, request.method]
        for place, name in enumerate(given):
            if name not in known:
                names = ", ".join(sorted(known)) or "none"
                [detail] = unknown([name], known, "query parameter")
                raise _refused(name, f"{detail}; known here: {names}", "is not known here")
            if name in given[:place]:
                raise _refused(name, f"{name}: is given twice", "is given twice")


def _refused(name: str, words: str, detail: str) -> Problem:
    return Problem(422, "bad-value", words, errors=[{"field": name, "detail": detail}])
