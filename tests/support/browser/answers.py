"""Answers made up for the page: jobs larger than a test can measure, and figures that are rare."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route

Row = dict[str, Any]


def component(name: str, site: str, estimate: float | None, **others: Any) -> Row:
    """Return a component as the API does; its interval is a tenth of its size where none is given."""
    size = abs(estimate or 0.0)
    row = {"component": name, "site": site, "layer": 0, "head": None, "unit": None, "position": None}
    figures = {
        "n": 24,
        "mean": estimate or 0.001,
        "mean_abs": size or 0.001,
        "std": 0.1,
        "exact_n": 5,
        "shrunk": False,
    }
    ends = {"ci_low": (estimate or 0) - 0.1 * size, "ci_high": (estimate or 0) + 0.1 * size}
    return row | figures | {"estimate": estimate} | ends | {"edge": None} | others


def neurons(count: int) -> list[Row]:
    """Return a number of neurons, the largest estimate first; their mean scores are in reverse order."""
    return [
        component(
            f"n0.{index}", "mlp_post", 1 - index / count, unit=index, mean=index / count, std=index / count
        )
        for index in range(count)
    ]


def cell(pair: int, neuron: int, score: float) -> Row:
    """Return an exactly patched cell of a neuron of layer 0."""
    place = {"layer": 0, "head": None, "unit": neuron, "position": None, "edge": None}
    return {
        "pair": pair,
        "component": f"n0.{neuron}",
        "site": "mlp_post",
        **place,
        "score": score,
        "effect": score + 0.01,
        "inclusion": 0.5,
    }


class Pages:
    """A list of the API, given page by page as the server would, and what was asked of it."""

    def __init__(self, page: Page, path: str, rows: Callable[[dict[str, str]], Sequence[Row]]) -> None:
        self.asked: list[dict[str, str]] = []
        self._rows = rows
        page.route(f"**/{path}?*", self._answer)

    def _answer(self, route: Route) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
        # The task line asks as well, for the ten strongest, whichever view is below it.
        if asked.get("limit") != "10":
            self.asked.append(asked)
        rows = self._rows(asked)
        start, limit = int(asked.get("cursor", 0)), int(asked.get("limit", 1000))
        more = str(start + limit) if start + limit < len(rows) else None
        items = rows[start : start + limit]
        body = {"job": 1, "method": "atp", "items": items, "total": len(rows), "next": more}
        body |= {"task": None, "rounding": None, "coverage": {"patched": 960, "cells": 48_000, "share": 0.02}}
        route.fulfill(status=200, content_type="application/json", body=json.dumps(body))
