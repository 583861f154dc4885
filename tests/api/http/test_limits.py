"""How much a client may ask for: requests a second, and costly things at a time."""

from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from patchgrid.api.service.limits import Rate, Slots
from patchgrid.api.service.token_cache import TokenCache
from patchgrid.api.web.answers import Answer, Answers
from patchgrid.api.web.problems import Problem
from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from patchgrid.storage.queue import control
from support.api.api_clients import Api, lines, problem


def test_too_many_requests_are_told_when_to_come_again(make_api: Callable[..., Api]) -> None:
    """Of one token, whatever others do; of all without one, by their address."""
    made = make_api(requests_per_second=2.0)
    made.service.rate._now = lambda: 0.0
    one, other = made.token("read", "one"), made.token("read", "other")

    def until_refused(headers: dict[str, str]) -> httpx.Response:
        answers = (made.client.get("/v1/jobs", headers=headers) for _ in range(1000))
        return next(answer for answer in answers if answer.status_code == 429)

    answer = until_refused(one)
    problem(answer, 429, "too-many-requests")
    assert int(answer.headers["retry-after"]) >= 1
    assert made.client.get("/v1/jobs", headers=other).status_code == 200
    problem(until_refused({"Authorization": "Bearer x"}), 429)
    problem(made.client.post("/session", json={"token": "x"}), 429)
    assert made.client.get("/healthz").status_code == 200


def test_what_was_not_asked_for_may_be_asked_for_later() -> None:
    """A bucket fills by the rate, up to three seconds' worth; callers do not take each other's."""
    clock = 0.0
    rate = Rate(2.0, lambda: clock)

    def taken() -> int:
        for count in range(1000):
            try:
                rate.take("one")
            except Problem:
                return count
        raise AssertionError("nothing was refused")

    assert taken() == 6
    assert taken() == 0
    clock = 1.0
    assert taken() == 2
    clock = 1000.0
    assert taken() == 6
    rate.take("other")


def test_callers_of_long_ago_are_forgotten() -> None:
    """Addresses that come and go take no memory for ever."""
    rate = Rate(1.0)
    for number in range(25_000):
        rate.take(f"address {number}")
    assert len(rate._left) == 10_000


def test_a_place_is_held_and_given_back() -> None:
    """However what it is for ends."""
    slots = Slots(1, "things", share=1)
    for _ in range(3):
        with suppress(ZeroDivisionError), slots.one("a"):
            with pytest.raises(Problem, match="the server is at its limit of 1 concurrent things"):
                slots.take("b")
            _ = 1 / 0
    with slots.one("a"), pytest.raises(Problem):
        slots.take("b")


def test_a_place_is_given_back_once_and_by_who_has_it() -> None:
    """Otherwise there would be more places than there are."""
    slots = Slots(2, "things", share=2)
    slots.take("a")
    for _ in range(2):
        with pytest.raises(ValueError, match="does not hold"):
            slots.give_back("b")
    slots.give_back("a")
    with pytest.raises(ValueError, match="does not hold"):
        slots.give_back("a")


def test_one_caller_has_no_more_than_a_share() -> None:
    """The others find room, until there is none; nobody in particular may have all of it."""
    slots = Slots(4, "things", share=2)
    slots.take("a")
    slots.take("a")
    with pytest.raises(Problem, match="this token is at its limit of 2 concurrent things") as caught:
        slots.take("a")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "5")
    slots.take("b")
    slots.take(None)
    with pytest.raises(Problem, match="the server is at its limit of 4 concurrent things"):
        slots.take("c")
    slots.give_back("a")
    slots.take("a")
    for caller in ("a", "a", "b", None):
        slots.give_back(caller)
    for _ in range(4):
        slots.take(None)


@pytest.mark.parametrize("what", ["uploads", "exports", "streams"])
def test_one_token_does_not_keep_the_others_out(make_api: Callable[..., Api], what: str) -> None:
    """Of uploads, exports and event streams, whatever it has in hand."""
    made = make_api(uploads=2, exports=2, streams=4, upload_waits=0.1)
    job = made.submit(lines(2)).json()["job"]
    one, other = made.token("submit", "one"), made.token("submit", "other")
    with made.database.read() as session:
        ids = {token.name: token.id for token in tokens.list_tokens(session)}

    def ask(headers: dict[str, str]) -> httpx.Response:
        if what == "uploads":
            return made.submit(lines(3), headers)
        if what == "exports":
            return made.client.get(f"/v1/jobs/{job}/export", headers=headers)
        with made.client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
            return answer

    getattr(made.service, what).take(f"token {ids['one']}")
    with made.database.write() as session:
        control.cancel(session, job)
    assert "this token is at its limit of 1" in problem(ask(one), 503, "busy")["detail"]
    assert ask(other).status_code in (200, 201)


def test_answers_are_kept_within_their_room() -> None:
    """Counted with what they are kept by, which clients choose; too large a one is given and not kept."""
    answers, made = Answers(room=100_000), 0

    def ask(key: str, size: int) -> None:
        nonlocal made

        def make() -> Answer:
            nonlocal made
            made += 1
            return Answer(b"x" * size)

        assert len(answers.get(key, make).body) == size

    ask("first", 1000)
    ask("first", 1000)
    assert made == 1
    ask("large", 200_000)
    ask("first", 1000)
    assert made == 2
    for number in range(1000):
        ask("k" * 5000 + str(number), 10)
    assert len(answers._entries) < 20
    assert answers._used <= 100_000
    assert answers._making == {}
    ask("first", 1000)
    assert made == 1003


def test_an_answer_that_cannot_be_made_is_tried_again() -> None:
    """Nobody waits for it for ever."""
    answers = Answers()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            answers.get("key", lambda: Answer(b"x" * (1 // 0)))
    assert answers._making == {}
    assert answers.get("key", lambda: Answer(b"good")).body == b"good"


def test_an_export_takes_a_place_and_gives_it_back(make_api: Callable[..., Api]) -> None:
    """However it ends."""
    made = make_api(exports=1)
    for _ in range(3):
        problem(made.client.get("/v1/jobs/1/export"), 404)
    made.service.exports.take(None)
    problem(made.client.get("/v1/jobs/1/export"), 503, "busy")


def test_a_token_is_looked_up_once_in_a_while_and_good_for_a_second_at_most(database: Database) -> None:
    """One request looks anew, the others go on meanwhile; a revoked one is good for nothing after that."""
    clock = 0.0
    known = TokenCache(database, lambda: clock)
    with database.write() as session:
        _, text = tokens.create(session, "lab", ["read"])
    assert known.recall(text) is None
    assert known.find(text) is not None
    clock = 0.4
    assert known.recall(text) is not None
    clock = 0.6
    assert known.recall(text) is None, "this one is to look"
    assert known.recall(text) is not None, "others need not"
    with database.write() as session:
        tokens.revoke(session, "lab")
    assert known.recall(text) is not None
    clock = 1.0
    assert known.recall(text) is None
    assert known.find(text) is None
    assert known.recall(text) is None
    assert known.find("nonsense") is None
