"""Checks of query parameter names: declared by the operation, each at most once."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastapi import Request

from patchgrid.api.web.problems import Problem
from patchgrid.core.text.messages import unknown


class Queries:
    """The query parameters of each operation, from the OpenAPI document."""

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
        """Refuse unknown names, which would be ignored, and duplicates."""
        names = [name for name, _ in request.query_params.multi_items()]
        if not names:
            return
        declared = self._names[request.scope["route"].path, request.method]
        for place, name in enumerate(names):
            if name not in declared:
                listed = ", ".join(sorted(declared)) or "none"
                [detail] = unknown([name], declared, "query parameter")
                raise _refused(name, f"{detail}; available: {listed}", "is unknown")
            if name in names[:place]:
                raise _refused(name, f"{name}: appears twice", "appears twice")


def _refused(name: str, words: str, detail: str) -> Problem:
    return Problem(422, "bad-value", words, errors=[{"field": name, "detail": detail}])
