"""Components, heatmaps, exact cells and agreement over HTTP: what storage and the command line say."""

import csv
import io
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from patchgrid.api.web import cursors
from patchgrid.core.plain import plain
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.documents import agreement_json, component_json
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.pair_results import exact_list
from patchgrid.storage.results import components, verification
from patchgrid.storage.results.plots import heatmap
from support.api.api_clients import every_item, every_page, problem
from support.api.api_jobs import Filled
from support.cli.commands import patchgrid


def at(job: JobRecord, what: str) -> str:
    """Return the path of a job's resource."""
    return f"/v1/jobs/{job.id}/{what}"


def test_components_are_those_of_storage(filled: Filled, reading: TestClient) -> None:
    """Of every ended job, by every method, of both kinds."""
    for job in filled.ended:
        for method in job.spec.query.method_names:
            for kind in {kind for site in job.spec.query.sites for kind in job.kinds(site)}:
                with filled.database.read() as session:
                    rows = components.components(session, job, kind=kind, method=method)
                found = every_item(reading, at(job, "components"), method=method, kind=kind, limit=10_000)
                assert found == [component_json(row) for row in rows]
                assert len(found) > 0


def test_components_come_page_by_page_each_once(filled: Filled, reading: TestClient) -> None:
    """However small the pages are, in either order."""
    path = at(filled.finished, "components")
    whole = reading.get(path).json()
    assert whole["next"] is None
    for limit in (1, 3, len(whole["items"])):
        assert every_item(reading, path, limit=limit) == whole["items"]
    largest = reading.get(path, params={"by": "estimate"}).json()["items"]
    assert every_item(reading, path, by="estimate", limit=2) == largest
    assert sorted(row["component"] for row in largest) == sorted(row["component"] for row in whole["items"])
    assert largest != whole["items"]


def test_one_component_is_found_by_its_name(filled: Filled, reading: TestClient) -> None:
    """That its row gives it; of the kind that the name is of."""
    for job in (filled.finished, filled.spanned, filled.edges):
        for kind in {kind for site in job.spec.query.sites for kind in job.kinds(site)}:
            rows = every_item(reading, at(job, "components"), kind=kind, limit=10_000)
            for row in rows[::5]:
                document = reading.get(at(job, "components"), params={"component": row["component"]}).json()
                assert (document["items"], document["total"], document["next"]) == ([row], 1, None)
    nothing = reading.get(at(filled.finished, "components"), params={"component": "m99"}).json()
    assert (nothing["items"], nothing["total"]) == ([], 0)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_search_goes_page_by_page_and_counts(filled: Filled, reading: TestClient, form: str) -> None:
    """With an order; `total` is that of all pages, in a header where there are rows alone."""
    path = at(filled.finished, "components")
    rows = [row for row in reading.get(path).json()["items"] if "h1" in row["component"]]
    assert len(rows) == 2
    asked = {"search": "H1", "by": "std", "order": "up", "limit": "1", "format": form}
    found = []
    while True:
        answer = reading.get(path, params=asked)
        if form == "json":
            items, total, following = (answer.json()[name] for name in ("items", "total", "next"))
        else:
            items = list(csv.DictReader(io.StringIO(answer.text)))
            total, following = int(answer.headers["x-total-count"]), answer.headers.get("x-next-cursor")
        assert total == 2
        found += [item["component"] for item in items]
        if following is None:
            break
        asked["cursor"] = following
    assert found == [row["component"] for row in sorted(rows, key=lambda row: float(row["std"]))]


def test_a_components_exact_cells_are_asked_for_alone(filled: Filled, reading: TestClient) -> None:
    """As JSON and as CSV, page by page."""
    for job, name in ((filled.finished, "a1.h2"), (filled.spanned, "m1"), (filled.edges, "a0.h1->m1")):
        [row] = reading.get(at(job, "components"), params={"component": name}).json()["items"]
        place = {field: row[field] for field in ("site", "layer", "head", "unit", "edge")}
        path = at(job, "exact")
        wanted = [cell for cell in every_item(reading, path, limit=20_000) if cell | place == cell]
        assert wanted
        assert every_item(reading, path, component=name, limit=2) == wanted
        text = reading.get(path, params={"component": name, "format": "csv"}).text
        effects = [row["effect"] for row in csv.DictReader(io.StringIO(text))]
        assert effects == [str(cell["effect"]) for cell in wanted]
    assert every_item(reading, at(filled.finished, "exact"), component="m99") == []


def test_the_largest_components_are_those_of_the_command(filled: Filled, reading: TestClient) -> None:
    """`results top --json` prints the same document, but for what pages need."""
    name = filled.finished.id
    printed = patchgrid("results", "top", name, "-k", "5", "--json", "--db", filled.database.url)
    assert printed.exit_code == 0, printed.stderr
    answer = reading.get(at(filled.finished, "components"), params={"by": "estimate", "limit": 5}).json()
    assert {"total", "next"} < answer.keys()
    assert json.loads(printed.stdout) == {
        field: value for field, value in answer.items() if field not in ("total", "next")
    }


def test_verification_is_that_of_the_command(filled: Filled, reading: TestClient) -> None:
    """`results verify --json` prints the same document; with `--furthest`, that of the cells."""
    verify = ("results", "verify", filled.finished.id, "--json", "--db", filled.database.url)
    printed = json.loads(patchgrid(*verify).stdout)
    assert printed == reading.get(at(filled.finished, "verification")).json()
    assert printed["task"]["line"].startswith("Task: ")
    params = {"site": "z", "limit": 3}
    answer = reading.get(at(filled.finished, "furthest"), params=params).json()
    assert json.loads(patchgrid(*verify, "--furthest", "z", "-k", 3).stdout) == answer


def test_intervals_for_the_population_are_wider(filled: Filled, reading: TestClient) -> None:
    """`interval` reaches the estimator."""
    path = at(filled.finished, "components")
    here, everywhere = (
        reading.get(path, params={"interval": which}).json()["items"] for which in ("pairs", "population")
    )
    assert all(
        one["ci_high"] - one["ci_low"] <= other["ci_high"] - other["ci_low"]
        for one, other in zip(here, everywhere, strict=True)
    )
    assert here != everywhere


@pytest.mark.parametrize("kind", ["whole", "aligned"])
def test_heatmaps_are_those_of_storage(filled: Filled, reading: TestClient, kind: str) -> None:
    """Of every site and method of jobs with heads and layers."""
    for job in (filled.finished, filled.spanned, filled.summary):
        for site in job.spec.query.sites:
            for method in job.spec.query.method_names:
                asked = {"site": site, "kind": kind, "method": method}
                document = reading.get(at(job, "heatmap"), params=asked).json()
                with filled.database.read() as session:
                    found = heatmap(session, job, site, kind, method)
                assert document["values"] == plain(found.values)
                assert document["columns"] == list(found.columns)
                assert document["measure"] == found.measure


def test_exact_cells_come_page_by_page_each_once(filled: Filled, reading: TestClient) -> None:
    """As an export has them, in its order."""
    for job in (filled.finished, filled.spanned, filled.edges):
        rows = [plain(row) for row in export_rows(filled.database, job, "exact")]
        path = at(job, "exact")
        found = every_item(reading, path, limit=7)
        assert [{name: row[name] for name in rows[0]} for row in found] == rows
        for site in job.spec.query.sites:
            assert every_item(reading, path, site=site, limit=5) == [
                row for row in found if row["site"] == site
            ]


def test_exact_cells_have_each_methods_scores(filled: Filled, reading: TestClient) -> None:
    """The same cells, other scores."""
    path = at(filled.finished, "exact")
    first, second = (every_item(reading, path, method=method) for method in ("atp", "ig"))
    assert [row | {"score": 0} for row in first] == [row | {"score": 0} for row in second]
    assert [row["score"] for row in first] != [row["score"] for row in second]
    with filled.database.read() as session:
        page = exact_list.page(session, filled.finished, method="ig")
    assert second == plain(page.items)


def test_agreement_is_that_of_storage_and_the_command(filled: Filled, reading: TestClient) -> None:
    """For all methods together, and by one."""
    job = filled.finished
    with filled.database.read() as session:
        cost = verification.cost(session, job)
        rows = [agreement_json(row, cost) for row in verification.verification(session, job, top_k=3)]
    document = reading.get(at(job, "verification"), params={"top_k": 3}).json()
    assert document["items"] == rows
    assert document["cost"] == plain(cost)
    one = reading.get(at(job, "verification"), params={"top_k": 3, "method": "ig"}).json()
    assert one["items"] == [row for row in rows if row["method"] == "ig"]


@pytest.mark.parametrize("what", ["components", "exact", "verification", "pairs"])
def test_a_lists_csv_is_its_json(filled: Filled, reading: TestClient, what: str) -> None:
    """Row by row, field by field, and the next page's cursor in a header."""
    path, query = at(filled.finished, what), {} if what == "verification" else {"limit": "3"}
    page = reading.get(path, params=query).json()
    answer = reading.get(path, params=query | {"format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="job-1-')
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows == [{name: _text(value) for name, value in item.items()} for item in page["items"]]
    assert answer.headers.get("x-next-cursor") == page.get("next")


@pytest.mark.parametrize("what", ["components", "exact", "pairs"])
def test_a_page_of_nothing_has_a_head_as_csv(filled: Filled, reading: TestClient, what: str) -> None:
    """The same as any page's: readers of CSV take no file without one."""
    path, behind = at(filled.finished, what), [10**6] * (2 if what == "exact" else 1)
    full = reading.get(path, params={"format": "csv"}).text
    empty = reading.get(path, params={"format": "csv", "cursor": cursors.write(behind)}).text
    assert empty == full.partition("\n")[0] + "\n"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def test_a_heatmaps_csv_is_its_json(filled: Filled, reading: TestClient) -> None:
    """A row a layer, a column a head."""
    asked = {"site": "z"}
    document = reading.get(at(filled.finished, "heatmap"), params=asked).json()
    text = reading.get(at(filled.finished, "heatmap"), params=asked | {"format": "csv"}).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [[float(row[str(column)]) for column in document["columns"]] for row in rows] == document["values"]


def test_an_answer_that_the_client_has_is_not_sent_again(filled: Filled, reading: TestClient) -> None:
    """By its ETag, as it is, without its mark, or among others."""
    path = at(filled.finished, "components")
    first = reading.get(path)
    tag = first.headers["etag"]
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = reading.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == tag
    assert reading.get(path, headers={"If-None-Match": '"other"'}).content == first.content


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("components", {"site": "nowhere"}),
        ("components", {"site": "nowhere", "component": "m1"}),
        ("components", {"component": ""}),
        ("components", {"component": "\u0000"}),
        ("components", {"search": "s" * 501}),
        ("components", {"by": "std", "order": "sideways"}),
        ("components", {"by": "beauty"}),
        ("components", {"method": "relp"}),
        ("components", {"cursor": "%%%"}),
        ("components", {"cursor": "WzEsMl0"}),
        ("components", {"limit": "0"}),
        ("components", {"limit": "1" * 5000}),
        ("components", {"kind": "half"}),
        ("components", {"format": "xml"}),
        ("heatmap", {}),
        ("heatmap", {"site": "resid_post"}),
        ("exact", {"site": "q"}),
        ("exact", {"cursor": "WzFd"}),
        ("exact", {"component": "m1@last"}),
        ("exact", {"search": "m1"}),
        ("verification", {"top_k": "-1"}),
        ("verification", {"method": "\u0000"}),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    filled: Filled, reading: TestClient, what: str, query: dict[str, str]
) -> None:
    """422, with words, and the field in `errors`."""
    document = problem(reading.get(at(filled.finished, what), params=query), 422)
    assert document["detail"]
    assert {each["field"] for each in document["errors"]} <= {"site"} | query.keys()


def test_what_a_job_did_not_keep_is_not_found(filled: Filled, reading: TestClient) -> None:
    """The message says how to keep it."""
    document = problem(reading.get(at(filled.summary, "exact")), 404, "not-stored")
    assert "--exact" in document["detail"]


def test_a_running_jobs_answers_are_of_now(filled: Filled, reading: TestClient) -> None:
    """What is there of a job that goes on can be asked for, and its pages hold together."""
    pages = list(every_page(reading, at(filled.running, "components"), limit=4))
    rows = [row for page in pages for row in page["items"]]
    assert rows
    assert {row["n"] for row in rows} == {4}
    assert reading.get(at(filled.pending, "components")).json()["items"] == []
