"""A job's pairs over HTTP: the list, and all that is kept of one."""

import csv
import io
import json

import pytest
from starlette.testclient import TestClient

from patchgrid.core.plain import plain
from patchgrid.storage.pair_results import pair_list
from support.api.api_clients import Api, every_item, problem
from support.api.api_jobs import Filled
from support.cli.commands import patchgrid


def test_pairs_are_those_of_storage_each_once(filled: Filled, reading: TestClient) -> None:
    """Of jobs that are done, that go on, and that nobody has begun, however small the pages are."""
    for job in (filled.finished, filled.spanned, filled.running, filled.pending):
        with filled.database.read() as session:
            whole = [plain(line) for line in pair_list.page(session, job, limit=1000).items]
        for limit in (1, 4, 1000):
            assert every_item(reading, f"/v1/jobs/{job.id}/pairs", limit=limit) == whole
        assert len(whole) == job.pairs


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ({"state": "failed"}, [3, 9]),
        ({"state": "pending"}, []),
        ({"state": "done", "search": "pair-1"}, [1]),
        ({"search": "CLEAN 2"}, [2]),
        ({"search": "<script>"}, [10]),
        ({"search": "'; DROP TABLE"}, [11]),
        ({"search": "%"}, []),
        ({"search": "{{7*7}}"}, [13]),
        ({"name": "odd-2"}, [12]),
        ({"name": "5"}, [5]),
        ({"name": "nobody"}, []),
        ({"name": "9" * 400}, []),
    ],
)
def test_pairs_are_found(filled: Filled, reading: TestClient, query: dict[str, str], rows: list[int]) -> None:
    """By state, by what is in them, by id or row."""
    found = every_item(reading, f"/v1/jobs/{filled.finished.id}/pairs", **query, limit=2)
    assert [item["row"] for item in found] == rows


def test_one_pair_is_shown_as_the_command_shows_it(filled: Filled, reading: TestClient) -> None:
    """Of each kind of job, measured, failed or waiting, by each method."""
    for job in (*filled.ended, filled.running, filled.pending):
        for row in (0, 3, job.pairs - 1):
            for method in job.spec.query.method_names:
                document = reading.get(f"/v1/jobs/{job.id}/pairs/{row}", params={"method": method}).json()
                assert (document["row"], document["method"]) == (row, method)
        printed = patchgrid("results", "pair", job.id, "0", "--json", "--db", filled.database.url)
        assert printed.exit_code == 0, printed.stderr
        assert json.loads(printed.stdout) == reading.get(f"/v1/jobs/{job.id}/pairs/0").json()


def test_prompts_are_given_as_they_are(filled: Filled, reading: TestClient) -> None:
    """Whatever HTML, SQL or a terminal would make of them: JSON says it all."""
    for row in range(10, 14):
        answer = reading.get(f"/v1/jobs/1/pairs/{row}")
        document = answer.json()
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert document["clean"][:-1] == document["corrupted"][:-1]
    assert reading.get("/v1/jobs/1/pairs/13").json()["clean"] == "a\u202eb\x1b[31m {{7*7}} x"


@pytest.mark.parametrize("row", ["14", "2147483647"])
def test_a_pair_that_is_not_there_is_not_found(reading: TestClient, row: str) -> None:
    """A row behind the last."""
    problem(reading.get(f"/v1/jobs/1/pairs/{row}"), 404, "no-such-pair")


@pytest.mark.parametrize("row", ["-1", "x", "2147483648", "1" * 400, "0x1", "1.5", "%00", "\u0661x"])
def test_what_is_no_row_is_refused(reading: TestClient, row: str) -> None:
    """A row is a number that the databases hold."""
    problem(reading.get(f"/v1/jobs/1/pairs/{row}"), 422, "bad-value")


def test_a_carriage_return_stays_within_its_cell(served: Api) -> None:
    """As csv, too: most readers take a bare one for a line's end."""
    prompt = "first\rsecond"
    pair = {"clean": prompt, "corrupted": "third\r\nfourth", "correct": " a", "incorrect": " b"}
    job = served.submit(json.dumps(pair).encode()).json()["job"]
    text = served.client.get(f"/v1/jobs/{job}/pairs", params={"format": "csv"}).text
    assert f'"{prompt}"' in text
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["clean"], row["corrupted"]) == (prompt, pair["corrupted"])
