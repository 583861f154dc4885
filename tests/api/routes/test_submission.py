"""Submitting over HTTP: forms and bodies, once, whole or not at all, within what is allowed."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from patchgrid.core.types import Pair
from patchgrid.storage import Database, tables
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import control
from support.api.api_clients import Api, lines, problem
from support.storage.storage_backends import run_job

FORMATS: dict[str, bytes] = {
    "jsonl": lines(3),
    "csv": b"clean,corrupted,correct,incorrect\nclean 0,corrupted 0, a, b\nclean 1,corrupted 1, a, b\n",
    "auto": json.dumps(
        {"prompts": [{"clean": "c", "corrupt": "d", "answers": ["a"], "wrong_answers": ["b"]}] * 1}
    ).encode(),
}


def stored(database: Database, job_id: int) -> list[Pair]:
    """Return a job's pairs as they are in the database."""
    query = select(tables.pair).where(tables.pair.c.job_id == job_id).order_by(tables.pair.c.pair_index)
    with database.read() as session:
        return [read_pair(row) for row in session.execute(query)]


def counts(database: Database) -> tuple[int, ...]:
    """Return the numbers of jobs, pairs, chunks, owners and keys."""
    held = (tables.job, tables.pair, tables.chunk, tables.submission, tables.idempotency)
    with database.read() as session:
        return tuple(session.scalar(select(func.count()).select_from(table)) or 0 for table in held)


def test_a_form_becomes_a_job(served: Api) -> None:
    """With its settings and pairs; the answer is the job, and where it is."""
    answer = served.submit(lines(5), name="mine", sites=["z"], exact=0.25, chunk_size=2, priority=4)
    assert answer.status_code == 201, answer.text
    document = answer.json()
    assert (document["created"], document["name"], document["chunks"]["pending"]) == (True, "mine", 3)
    assert document["spec"]["sites"] == ["z"]
    assert answer.headers["location"] == f"/v1/jobs/{document['job']}"
    shown = served.client.get(answer.headers["location"]).json()
    assert {name: document[name] for name in shown.keys() & document.keys()}.items() <= shown.items()
    pairs = stored(served.database, document["job"])
    assert [pair.clean for pair in pairs] == [f"clean {row}" for row in range(5)]
    assert counts(served.database) == (1, 5, 3, 1, 0)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_is_told_by_its_content(served: Api, form: str) -> None:
    """As a body of whatever type, with the settings in the query; the same as by a form."""
    types = ("application/octet-stream", "application/x-ndjson", "text/csv", "application/json", "")
    answers = []
    for kind in types:
        headers = {"Content-Type": kind} if kind else {}
        asked = {"model": "a/model", "sites": "z,mlp_out"}
        answers.append(served.client.post("/v1/jobs", content=FORMATS[form], params=asked, headers=headers))
    answers.append(served.submit(FORMATS[form], sites="z,mlp_out"))
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 200], answers[0].text
    assert len({answer.json()["job"] for answer in answers}) == 1
    assert counts(served.database)[0] == 1


def test_a_job_that_is_there_becomes_the_second_submitters_too(make_api: Callable[..., Api]) -> None:
    """One's cancel only withdraws them; a cancelled job is reopened by whoever submits it next."""
    made = make_api()
    ann, bob = made.token("submit", "ann"), made.token("submit", "bob")
    first, second = made.submit(lines(3), ann), made.submit(lines(3), bob)
    assert (first.status_code, second.status_code) == (201, 200)
    found = second.json()
    assert (found["created"], found["reopened"]) == (False, False)
    assert (found["submitted_by"], found["owners"]) == ("ann", ["ann", "bob"])
    path = f"/v1/jobs/{found['job']}"
    problem(made.client.post(f"{path}/pause", headers=ann), 409, "job-shared")
    assert made.client.get(path, headers=bob).json()["owners"] == ["ann", "bob"]
    left = made.client.post(f"{path}/cancel", headers=ann).json()
    assert (left["state"], left["remaining_owners"], left["owners"]) == ("pending", ["bob"], ["bob"])
    assert made.client.get(path, headers=bob).json()["owners"] == ["bob"]
    problem(made.client.post(f"{path}/pause", headers=ann), 403, "not-yours")
    ended = made.client.post(f"{path}/cancel", headers=bob).json()
    assert (ended["state"], ended["remaining_owners"]) == ("cancelled", [])
    again = made.submit(lines(3), ann).json()
    assert (again["job"], again["state"], again["reopened"], again["owners"]) == (
        *(found["job"], "pending"),
        *(True, ["ann"]),
    )
    made.submit(lines(3), bob)
    kept = made.client.delete(path, headers=ann)
    assert (kept.status_code, kept.json()) == (200, {"job": found["job"], "remaining_owners": ["bob"]})
    problem(made.client.delete(path, params={"everyone": True}, headers=bob), 403, "scope-missing")
    made.submit(lines(3), ann)
    boss = made.token("admin", "boss")
    assert made.client.delete(path, params={"everyone": True}, headers=boss).status_code == 204
    problem(made.client.get(path, headers=ann), 404, "no-such-job")


def test_names_are_the_tokens_own_first(make_api: Callable[..., Api]) -> None:
    """And `last`, in whatever is asked of a job."""
    made = make_api()
    ann, bob = made.token("submit", "ann"), made.token("submit", "bob")
    anns = made.submit(lines(3), ann, name="ioi").json()["job"]
    bobs = made.submit(lines(4), bob, name="ioi").json()["job"]
    for name in ("ioi", "last"):
        for headers, job in ((ann, anns), (bob, bobs)):
            answer = made.client.get(f"/v1/jobs/{name}", headers=headers)
            assert answer.json()["job"] == job
            assert made.client.get(f"/v1/jobs/{name}/components", headers=headers).json()["job"] == job
    reader = made.token("read")
    problem(made.client.get("/v1/jobs/ioi", headers=reader), 404, "no-such-job")
    assert made.client.post("/v1/jobs/ioi/cancel", headers=ann).json()["job"] == anns


def test_a_token_has_a_highest_priority_and_a_quota(make_api: Callable[..., Api]) -> None:
    """Its own, else the server's; admins have none. The refusal says what may be."""
    made = make_api(max_priority=2)
    plain, high = made.token("submit", "plain"), made.token("submit", "high", max_priority=7)
    refused = problem(made.submit(lines(2), plain, priority=3), 403, "priority-too-high")
    assert "priority 3 is above this token's limit of 2" in refused["detail"]
    problem(made.submit(lines(2), high, priority=8), 403, "priority-too-high")
    assert made.submit(lines(2), plain, priority=2).status_code == 201
    assert made.submit(lines(3), high, priority=7).status_code == 201
    admin = made.token("admin")
    boss = made.submit(lines(4), admin, priority=1000).json()
    assert (boss["created"], boss["priority"]) == (True, 1000)
    made.client.post(f"/v1/jobs/{boss['job']}/cancel", headers=admin)
    reopened = made.submit(lines(4), plain).json()
    assert (reopened["job"], reopened["reopened"], reopened["priority"]) == (boss["job"], True, 0)
    small = made.token("submit", "small", max_bytes=500)
    assert made.submit(lines(5), small).status_code == 201
    refused = problem(made.submit(lines(200), small), 413, "quota-exceeded")
    assert "job delete" in refused["detail"]
    limits = made.client.get("/v1/access", headers=small).json()["limits"]
    assert (limits["priority"], limits["bytes"]) == (2, 500)


def test_an_idempotency_key_gives_the_same_job_or_is_refused(make_api: Callable[..., Api]) -> None:
    """Each token has its own keys; what was refused used none up."""
    made = make_api()
    owner, other = made.token("submit", "owner"), made.token("submit", "other")

    def submit(token: dict[str, str], count: int) -> httpx.Response:
        return made.submit(lines(count), token | {"Idempotency-Key": "k 1"})

    problem(made.submit(b"{}\n", owner | {"Idempotency-Key": "k 1"}), 422, "bad-pairs")
    first, again = submit(owner, 3), submit(owner, 3)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["job"] == again.json()["job"]
    problem(submit(owner, 4), 422, "idempotency-key-reused")
    assert submit(other, 4).status_code == 201
    for key in ("", "x" * 256, "\x01", "caf\xe9\x85"):
        headers = {**owner, "Idempotency-Key": key.encode("latin-1")}
        answer = made.client.post("/v1/jobs?model=a/model", content=lines(9), headers=headers)  # type: ignore[arg-type]
        problem(answer, 422, "bad-value")
    assert counts(made.database)[0] == 2


def test_only_models_on_the_list_may_be_asked_for(served: Api) -> None:
    """With their revision, and no other; the list is told."""
    allowed: list[dict[str, Any]] = [{"model": "a/model"}, {"model": "pinned", "revision": "v1"}]
    refused: list[dict[str, Any]] = [
        {"model": "pinned"},
        {"model": "pinned", "revision": "v2"},
        {"model": "pinned@v1"},
        {"model": "a/model", "revision": "main"},
        {"model": "a/model "},
        {"model": "A/model"},
        {"model": "../a/model"},
        {"model": "/etc"},
    ]
    for asked in refused:
        document = problem(served.submit(lines(2), **asked), 403, "model-not-allowed")
        assert "pinned@v1" in document["detail"]
        query = served.client.post("/v1/jobs", params=asked, content=lines(2))
        problem(query, 403, "model-not-allowed")
    assert counts(served.database)[0] == 0
    for asked in allowed:
        assert served.submit(lines(2), **asked).status_code == 201


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"model": "a\u0000"}, "model"),
        ({"sites": ["nowhere"]}, "sites"),
        ({"sites": [1]}, "sites.0"),
        ({"sites": {"z": 1}}, "sites"),
        ({"method": "magic"}, "method"),
        ({"metric": "os:system"}, "metric"),
        ({"exact": 1.5}, "exact"),
        ({"exact": float("nan")}, "exact"),
        ({"exact": float("inf")}, "exact"),
        ({"exact": "much"}, "exact"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"steps": 0}, "steps"),
        ({"name": "7"}, "name"),
        ({"name": "last"}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "."}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"key": ""}, "key"),
        ({"key": "k" * 65}, "key"),
        ({"priority": 1001}, "priority"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"chunk_size": 10**9}, "chunk_size"),
        ({"limit": 0}, "limit"),
        ({"limit": 2**31}, "limit"),
        ({"surprise": 1}, "surprise"),
        ({"detail": "everything"}, "detail"),
        ({"dtype": "float8"}, "dtype"),
        ({"method": "atp", "grad_drop": True}, "grad_drop"),
        ({"model": "\ud800"}, "model"),
    ],
)
def test_a_setting_that_will_not_do_is_named(reading_api: Api, spec: dict[str, Any], field: str) -> None:
    """422, and nothing stored."""
    document = problem(reading_api.submit(lines(2), **spec), 422, "bad-value")
    assert [each["field"] for each in document["errors"]] == [field]
    assert counts(reading_api.database)[0] == 0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "1", '"a"', "[" * 100_000, "1" * 5000, "\ufeff{}", "\0"]
)
def test_what_is_no_spec_is_refused(reading_api: Api, text: str) -> None:
    """However it is broken."""
    files = {"pairs": ("pairs.jsonl", lines(2))}
    answer = reading_api.client.post("/v1/jobs", data={"spec": text}, files=files)
    assert answer.status_code in (413, 422), answer.text
    problem(answer, answer.status_code)


def test_a_bad_pair_is_named_by_line_and_field(served: Api) -> None:
    """The first twenty of them, and nothing is stored."""
    good = lines(1).decode().strip()
    bad = ['{"clean": 1}', "x", '{"clean": "a", "corrupted": "b", "correct": "c", "incorrect": "c"}']
    document = problem(served.submit("\n".join([good, *bad, good]).encode()), 422, "bad-pairs")
    assert {each["line"] for each in document["errors"]} == {2, 3, 4}
    assert "clean" in {each.get("field") for each in document["errors"] if each["line"] == 2}
    many = problem(served.submit(b"x\n" * 500), 422, "bad-pairs")
    assert {each["line"] for each in many["errors"] if "line" in each} == set(range(1, 21))
    for empty in (b"", b"\n\n", b" "):
        problem(served.submit(empty), 422, "bad-pairs")
    assert counts(served.database) == (0, 0, 0, 0, 0)


def test_no_file_is_told_so(served: Api) -> None:
    """No part `pairs`, no body at all."""
    files = {"other": ("pairs.jsonl", lines(2))}
    problem(
        served.client.post("/v1/jobs", data={"spec": '{"model": "a/model"}'}, files=files), 422, "bad-form"
    )
    only = {"spec": (None, '{"model": "a/model"}')}
    problem(served.client.post("/v1/jobs", files=only), 422, "no-pairs")
    problem(served.client.post("/v1/jobs", params={"model": "a/model"}), 422, "no-pairs")
    problem(served.client.post("/v1/jobs", data={"spec": "{}"}), 415, "unsupported")
    problem(served.client.post("/v1/jobs", content=lines(2)), 422, "bad-value")


def test_a_body_that_is_packed_is_refused(served: Api) -> None:
    """Before it is read: it would be no pair file, or a form without a boundary."""
    for coding in ("gzip", "br", "deflate, gzip"):
        packed = {"Content-Encoding": coding}
        answer = served.client.post("/v1/jobs?model=a/model", content=lines(2), headers=packed)
        assert coding in problem(answer, 415, "unsupported")["detail"]
    plain = {"Content-Encoding": "identity"}
    assert served.client.post("/v1/jobs?model=a/model", content=lines(2), headers=plain).status_code == 201


def test_an_own_key_is_one_jobs(served: Api) -> None:
    """Of the same pairs and settings, or it is taken."""
    assert served.submit(lines(3), key="mine").status_code == 201
    assert served.submit(lines(3), key="mine").status_code == 200
    problem(served.submit(lines(4), key="mine"), 409, "key-taken")
    problem(served.submit(lines(3), key="mine", seed=1), 409, "key-taken")
    assert "is blank" in problem(served.submit(lines(3), key="  "), 422, "bad-value")["detail"]
    assert counts(served.database)[0] == 1


def test_no_more_than_so_many_jobs_are_open(make_api: Callable[..., Api]) -> None:
    """Of one token, others have their own; an ended one makes room, and one that is there is no new one."""
    made = make_api(open_jobs=2)
    owner, other = made.token("submit", "owner"), made.token("submit", "other")
    first, second = (made.submit(lines(2, start=start), owner).json()["job"] for start in (0, 10))
    answer = made.submit(lines(2, start=20), owner)
    problem(answer, 429, "too-many-open-jobs")
    assert int(answer.headers["retry-after"]) > 0
    assert made.submit(lines(2, start=10), owner).status_code == 200
    assert made.submit(lines(2, start=20), other).status_code == 201
    with made.database.write() as session:
        control.cancel(session, first)
    assert made.submit(lines(2, start=30), owner).status_code == 201
    with made.database.read() as session:
        record = jobs.get(session, second)
    run_job(made.database, record)
    assert made.submit(lines(2, start=40), owner).status_code == 201
    # A job that ended is not reopened beyond it, either.
    problem(made.client.post(f"/v1/jobs/{first}/retry", headers=owner), 429, "too-many-open-jobs")
    problem(made.submit(lines(2), owner), 429, "too-many-open-jobs")


def test_no_more_than_so_many_pairs_are_taken(make_api: Callable[..., Api]) -> None:
    """Of a longer file the first ones may be asked for."""
    made = make_api(pairs=10)
    problem(made.submit(lines(11)), 413, "too-many-pairs")
    assert made.submit(lines(11), limit=10).status_code == 201
    assert made.submit(lines(10)).status_code == 200
    problem(made.submit(lines(11), limit=11), 413, "too-many-pairs")


@pytest.mark.parametrize("columns", ["correct=c,incorrect=i", {"correct": "c", "incorrect": "i"}])
def test_columns_can_be_named(served: Api, columns: str | dict[str, str]) -> None:
    """As text or as an object, in the form and, as text, in the query; the job is that of the pairs."""
    own = served.submit(b"clean,corrupted,correct,incorrect\na,b,x,y\n").json()["job"]
    named = b"clean,corrupted,c,i\na,b,x,y\n"
    answers = [served.submit(named, columns=columns)]
    if isinstance(columns, str):
        asked = {"model": "a/model", "columns": columns}
        answers.append(served.client.post("/v1/jobs", content=named, params=asked))
    assert [(answer.status_code, answer.json()["job"]) for answer in answers] == [(200, own)] * len(answers)


@pytest.mark.parametrize(
    ("columns", "status", "field", "detail"),
    [
        ("corect=c", 422, "columns", "unknown field 'corect' (did you mean 'correct'?)"),
        ({"correct": "c", "incorrect": "c"}, 422, "columns", "column 'c' cannot be two fields at once"),
        ({"correct": "cc", "incorrect": "i"}, 422, "cc", "missing column 'cc' (did you mean 'c'?)"),
    ],
)
def test_columns_that_will_not_do_are_refused(
    served: Api, columns: Any, status: int, field: str, detail: str
) -> None:
    """What is no field, and what the file does not have."""
    answer = served.submit(b"clean,corrupted,c,i\na,b,x,y\n", columns=columns)
    (error,) = answer.json()["errors"]
    assert answer.status_code == status
    assert error["field"] == field
    assert detail in error["detail"]
