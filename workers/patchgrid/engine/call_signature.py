"""Signatures of functions that take a query's settings by name, for `help` and completion in notebooks."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from patchgrid.core.query import query_settings

F = TypeVar("F", bound=Callable[..., Any])


def takes_settings(function: F) -> F:
    """Show each setting of a query in the signature in place of `**settings`."""
    signature = inspect.signature(function)
    *parameters, _ = signature.parameters.values()
    named = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default)
        for each in query_settings()
    ]
    function.__signature__ = signature.replace(parameters=[*parameters, *named])  # type: ignore[attr-defined]
    return function
