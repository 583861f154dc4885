"""A browser, a server with finished jobs, and visitors of its page."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from support.browser.chromium import find_chromium
from support.browser.servers import page_at
from support.browser.visitor import Visitor
from support.cli.commands import patchgrid
from support.engine.models import DEMO_MODEL

EXAMPLES = DEMO_MODEL.parent / "pairs"
#: A name and a pair that would be scripts if anything were put into the page as markup.
HOSTILE = "<img src=x onerror=alert(1)>"
Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Return the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with three finished jobs: `many` sites and methods, `edges`, a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "jobs.db"
    _run(
        path,
        EXAMPLES / "ioi_spans.jsonl",
        "many",
        "z,mlp_post,mlp_out,resid_post",
        "atp,relp",
        24,
        share=0.1,
        draws=30,
    )
    _run(path, EXAMPLES / "greater_than.jsonl", "edges", "edge", "eap", 12, share=0.01)
    lines = (EXAMPLES / "ioi.jsonl").read_text(encoding="utf-8").splitlines()[:5]
    bad = {
        "id": HOSTILE,
        "clean": f"{HOSTILE} Maria and",
        "corrupted": "Maria",
        "correct": " a",
        "incorrect": " b",
    }
    pairs = folder / "hostile.jsonl"
    pairs.write_text("\n".join([*lines, json.dumps(bad)]) + "\n", encoding="utf-8")
    _run(path, pairs, HOSTILE, "z", "atp", 10, exit_code=3)
    return path


def _run(path: Path, pairs: Path, name: str, sites: str, method: str, limit: int, **others: Any) -> None:
    options = ("--sites", sites, "--method", method, "--limit", limit, "--detail", "positions")
    result = patchgrid(
        "run",
        pairs,
        "-m",
        DEMO_MODEL,
        "--db",
        path,
        "--name",
        name,
        "--exact",
        others.get("share", 0.03),
        *(("--exact-per-component", others["draws"]) if "draws" in others else ()),
        *options,
    )
    assert result.exit_code == others.get("exit_code", 0), result.stderr


@pytest.fixture(scope="session")
def address(database: Path) -> Iterator[str]:
    """Return the address of a server with those jobs."""
    with page_at(database) as found:
        yield found


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Visit]:
    """Return a function that makes a visitor, of this server or another one."""
    visitors: list[Visitor] = []

    def make(other: str | None = None, **options: object) -> Visitor:
        visitors.append(Visitor(chromium, other or address, **options))  # type: ignore[arg-type]
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for pictures of the views: `PATCHGRID_PICTURES`, or a temporary one."""
    named = os.environ.get("PATCHGRID_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
