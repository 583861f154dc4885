"""The SQL on docs/tables.md runs as it stands there, and answers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import inspect, update

from patchgrid.storage import Database, tables
from patchgrid.storage.jobs import jobs
from patchgrid.storage.output.sql import query_readonly
from patchgrid.storage.results import components
from support.storage.chunk_results import make_spec
from support.storage.storage_backends import run_job, submit_job

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def measured(database: Database) -> Database:
    """The four jobs that the page asks about; in the second everything is larger."""
    two = {"sites": ("z", "mlp_out"), "method": "atp,relp"}
    run_job(database, submit_job(database, 40, spec=make_spec(**two)), failed={3}, warned={5: "repeated"})
    run_job(database, submit_job(database, 40, spec=make_spec(**two, direction="noise")))
    run_job(database, submit_job(database, spec=make_spec(sites=("mlp_post",))))
    run_job(database, submit_job(database, spec=make_spec(method="eap", sites=("edge",))))
    table = tables.component_estimate
    larger = {name: table.c[name] + 5 for name in ("mean", "estimate", "ci_low", "ci_high")}
    with database.write() as session:
        session.execute(update(table).where(table.c.job_id == 2).values(larger))
    return database


def answer(database: Database, sql: str) -> tuple[Sequence[str], list[dict[str, Any]]]:
    """Return a query's columns and rows."""
    columns, rows = query_readonly(database, sql)
    return columns, [dict(zip(columns, row, strict=True)) for row in rows]


def test_every_question_has_an_answer(measured: Database) -> None:
    """At least one row each, on both databases."""
    assert len(re.findall(r"^\*\*\d+\. ", PAGE, re.MULTILINE)) == 10
    assert len(QUERIES) >= 10
    for sql in QUERIES:
        columns, rows = answer(measured, sql)
        assert rows, sql
        assert len(set(columns)) == len(columns), sql


def test_the_first_question_is_that_of_results_top(measured: Database) -> None:
    """The same components in the same order with the same numbers."""
    _, rows = answer(measured, QUERIES[0])
    with measured.read() as session:
        top = components.top(session, jobs.get(session, 1), 10)
    assert [(row["component"], row["estimate"], row["ci_low"]) for row in rows] == [
        (each.name, each.estimate, each.ci_low) for each in top
    ]


def test_the_error_of_each_method_is_that_of_the_cells(measured: Database) -> None:
    """Computed from the exact rows by hand."""
    _, cells = answer(measured, "SELECT site, score, effect FROM exact WHERE job_id = 1 AND site = 'z'")
    error = np.mean([abs(cell["score"] - cell["effect"]) for cell in cells])
    _, rows = answer(measured, QUERIES[3])
    [mine] = [row for row in rows if (row["site"], row["method"]) == ("z", "atp")]
    assert (mine["cells"], mine["error"]) == (len(cells), pytest.approx(error))


def test_the_page_names_every_table_and_column_of_the_results(database: Database) -> None:
    """Each table, and of those that people ask each column."""
    names = set(re.findall(r"`([a-z_]+)`", PAGE))
    assert names >= set(inspect(database.engine).get_table_names()) - {"patchgrid_version"}
    for table in (tables.component_estimate, tables.exact, tables.top_component, tables.method_score):
        assert names >= {column.name for column in table.columns}
