"""Uploads whose bytes were changed: refused by line, or a job of just these pairs, never a part of one."""

import io
import itertools
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from patchgrid.pairs import PairFile
from patchgrid.pairs.errors import PairFileError
from patchgrid.storage import Database, tables
from patchgrid.storage.chunks.inputs import read_pair
from support.api.api_clients import Api, api, lines, problem
from support.storage.storage_backends import sqlite_url

_ENTRY = {"clean": "a b", "corrupt": "a c", "answers": ["x"], "wrong_answers": ["y", 3]}
_ROWS = [json.loads(line) for line in lines(40).splitlines()]


def parquet(**options: object) -> bytes:
    """Write good pairs as Parquet."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_ROWS), file, **options)
    return file.getvalue()


#: A good file of each format.
SEEDS: dict[str, bytes] = {
    "jsonl": lines(40),
    "csv": b"clean,corrupted,correct,incorrect\n"
    + b"".join(b'"c, %d",d %d, a, b\n' % (n, n) for n in range(40)),
    "auto": json.dumps(
        {"seq_labels": ["a"], "prompts": [_ENTRY | {"clean": f"a {n}"} for n in range(20)]}, indent=1
    ).encode(),
    "parquet": parquet(),
    "packed": parquet(compression="zstd"),
}
#: Changed files sent of the kinds that a process of their own reads, a quarter of a second each.
_SLOW_KINDS = {"parquet": 30, "packed": 30}
_PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"\n", b"\r\n", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800"),
    *(b"null", b"true", b"1e999", b"-1", b"9" * 400, b"NaN", b"-Infinity", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(
        b'"id": "x",',
        b"[" * 3000,
        b'{"a":' * 3000,
        b"PAR1",
        b"\x1b[2J",
        b"\xf0\x9f\x98\x80",
        b"a\xcc\x81" * 50,
    ),
]
#: Another for each job: two of the same pairs and settings would be one.
_SEEDS = itertools.count()
Change = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change some bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Leave a part out: from the end, the beginning, the middle."""
    start, stop = sorted((rng.randrange(len(data)), rng.randrange(len(data) + 1)))
    return rng.choice((data[:start], data[stop:], data[:start] + data[stop:]))


def insert(data: bytes, rng: random.Random) -> bytes:
    """Put something in."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(_PIECES) + data[place:]


def double(data: bytes, rng: random.Random) -> bytes:
    """Duplicate a part of the body."""
    start, stop = sorted((rng.randrange(len(data)), rng.randrange(len(data) + 1)))
    return data[:stop] + data[start:stop] + data[stop:]


def replace(data: bytes, rng: random.Random) -> bytes:
    """Put something in another's place."""
    start = rng.randrange(len(data))
    return data[:start] + rng.choice(_PIECES) + data[start + rng.randrange(12) :]


CHANGES: tuple[Change, ...] = (flip, cut, insert, double, replace)


@dataclass(frozen=True)
class Target:
    """Where changed files are sent."""

    api: Api
    spool: Path


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An application on SQLite, with a folder for temporary files of its own."""
    folder = tmp_path_factory.mktemp("mutations")
    spool = folder / "spool"
    spool.mkdir()
    with pytest.MonkeyPatch.context() as patch, Database.open(sqlite_url(folder)) as database:
        patch.setattr(tempfile, "tempdir", str(spool))
        with api(database) as make:
            yield Target(make(open_jobs=10**6), spool)


@contextmanager
def pair_file(data: bytes) -> Iterator[PairFile]:
    """Open bytes as the command line opens a file."""
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        file.write(data)
        file.flush()
        with PairFile.open(file.name) as opened:
            yield opened


def rows(database: Database) -> tuple[int, int, int]:
    """Count the jobs, their pairs, and the pairs that their chunks are for."""
    with database.read() as session:
        jobs_ = session.scalar(select(func.count()).select_from(tables.job)) or 0
        pairs = session.scalar(select(func.count()).select_from(tables.pair)) or 0
        chunks = session.scalar(select(func.sum(tables.chunk.c.last - tables.chunk.c.first))) or 0
    return jobs_, pairs, chunks


def send(target: Target, data: bytes) -> int:
    """Send a file, hold what becomes of it, and give the status."""
    before = rows(target.api.database)
    answer = target.api.client.post(f"/v1/jobs?model=a/model&seed={next(_SEEDS)}", content=data)
    assert list(target.spool.iterdir()) == []
    after = rows(target.api.database)
    if answer.status_code == 422:
        document = problem(answer, 422)
        assert document["detail"].isprintable() or "\n" in document["detail"]
        assert after == before
    else:
        assert answer.status_code == 201, answer.text
        total = answer.json()["pairs"]["total"]
        assert after == (before[0] + 1, before[1] + total, before[2] + total)
        with target.api.database.read() as session:
            query = select(tables.pair).where(tables.pair.c.job_id == answer.json()["job"])
            stored = [read_pair(row) for row in session.execute(query.order_by(tables.pair.c.pair_index))]
        with pair_file(data) as file:
            assert list(file) == stored
    return answer.status_code


def send_many(target: Target, kind: str, count: int) -> dict[int, int]:
    """Send so many changed files of a kind; count the statuses."""
    found: dict[int, int] = {}
    for number in range(count):
        rng = random.Random(f"{kind} {number}")
        data = SEEDS[kind]
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = rng.choice(CHANGES)(data, rng) or b"\n"
        status = send(target, data)
        found[status] = found.get(status, 0) + 1
    return found


@pytest.mark.parametrize("kind", SEEDS)
def test_the_files_that_are_changed_are_good(target: Target, kind: str) -> None:
    """Otherwise the tests below would show nothing."""
    assert send(target, SEEDS[kind]) == 201


@pytest.mark.parametrize("kind", SEEDS)
def test_a_changed_file_is_refused_or_a_job_of_its_pairs(target: Target, kind: str) -> None:
    """Both happen, and nothing else."""
    assert send_many(target, kind, _SLOW_KINDS.get(kind, 120)).keys() <= {201, 422}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_thousands_of_changed_files_are_refused_or_jobs_of_their_pairs(target: Target, kind: str) -> None:
    """Ten thousand in all."""
    assert send_many(target, kind, 2000).keys() == {201, 422}


@pytest.mark.parametrize("place", [1, 17, 40])
def test_a_bad_line_is_named_wherever_it_is(target: Target, place: int) -> None:
    """By its number, in each format that has lines or rows."""
    good = lines(40).splitlines(keepends=True)
    changed = b"".join([*good[: place - 1], b'{"clean": 1}\n', *good[place:]])
    answer = target.api.client.post("/v1/jobs?model=a/model", content=changed)
    assert {each["line"] for each in problem(answer, 422, "bad-pairs")["errors"]} == {place}
    table = pa.Table.from_pylist([*_ROWS[: place - 1], _ROWS[0] | {"clean": ""}, *_ROWS[place:]])
    file = io.BytesIO()
    pq.write_table(table, file)
    answer = target.api.client.post("/v1/jobs?model=a/model", content=file.getvalue())
    assert {each["row"] for each in problem(answer, 422, "bad-pairs")["errors"]} == {place - 1}


def test_hostile_texts_are_stored_as_they_are_or_refused(target: Target) -> None:
    """Marks of direction, combining letters, the largest code point; not NUL, and not half a character."""
    good = [
        "\u202eab",
        "a\u0301" * 300,
        "\ue000",
        "\U0010ffff",
        "\ufeff",
        "\u2028",
        "\r",
        "<b>&amp;",
        "\x1b[31m",
    ]
    rows_ = [_ROWS[0] | {"clean": text, "corrupted": text + "x"} for text in good]
    data = "\n".join(json.dumps(row) for row in rows_).encode()
    assert send(target, data) == 201
    for text in ["\0", "a\0b", "\ud800", "\udfff\ud800", ""]:
        data = json.dumps(_ROWS[0] | {"clean": text}).encode()
        assert send(target, data) == 422


def test_deep_and_huge_values_are_refused(target: Target) -> None:
    """Without a stack that runs over or a number that takes minutes."""
    for value in (b"[" * 500_000, b'{"a":' * 150_000, b"9" * 900_000, b"-" * 900_000):
        data = b'{"clean": "a", "corrupted": "b", "correct": ' + value + b', "incorrect": "c"}\n'
        assert send(target, data) == 422
        assert send(target, b'{"prompts": [' + value) == 422


def test_a_file_that_is_refused_here_is_refused_by_the_command_line(target: Target) -> None:
    """For the same reason."""
    for kind in SEEDS:
        data = SEEDS[kind][:-25]
        try:
            with pair_file(data) as file:
                file.check()
        except PairFileError:
            assert send(target, data) == 422
        else:
            assert send(target, data) == 201


def _bombs() -> dict[str, bytes]:
    """Return small Parquet files that unpack to far more."""
    one, rows_ = pa.array(["b"]), 200_000
    page = pa.table(
        {"clean": pa.array(["a" * (100 << 20)]), "corrupted": one, "correct": one, "incorrect": one}
    )
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows_, pa.int32()), pa.array(["a " * 500_000]))
    many = pa.table(
        {
            "clean": texts,
            **{name: pa.array([name] * rows_) for name in ("corrupted", "correct", "incorrect")},
        }
    )
    found = {}
    for name, table in (("one page", page), ("a shared text", many)):
        file = io.BytesIO()
        pq.write_table(
            table,
            file,
            compression="zstd",
            use_dictionary=name != "one page",
            dictionary_pagesize_limit=1 << 30,
        )
        found[name] = file.getvalue()
    return found


def test_a_small_file_that_unpacks_to_very_much_is_refused(target: Target) -> None:
    """One page of a hundred megabytes; two hundred gigabytes of the same text: by what its pages say."""
    for data in _bombs().values():
        assert len(data) < 50_000
        document = problem(target.api.client.post("/v1/jobs?model=a/model", content=data), 422, "bad-pairs")
        assert "the limit is" in document["detail"] or "too much text" in document["detail"]
