"""The check finds what is wrong in a database."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Executable, delete, select, update

from patchgrid.storage import Database, checking
from patchgrid.storage.db.blobs import pack, unpack
from patchgrid.storage.tables import (
    checksum,
    chunk,
    cost,
    exact,
    job,
    method_score,
    outcome,
    pair,
    provenance,
    scores,
    sums,
    top_component,
    total,
)
from support.storage.chunk_results import make_spec
from support.storage.damage import change, problems
from support.storage.storage_backends import run_job, submit_job

FACTS = {
    "prompt": (
        update(pair).where(pair.c.pair_index == 3).values(clean="clean 4"),
        "does not match its pairs (hash",
    ),
    "answer": (
        update(pair).where(pair.c.pair_index == 3).values(correct=[" c"]),
        "does not match its pairs (hash",
    ),
    "seed": (
        update(job).values(spec=make_spec(seed=1).as_dict()),
        "does not match its pairs and settings (hash",
    ),
    "sample size": (
        update(job).values(spec=make_spec(exact=0.4).as_dict()),
        "job 1: checksum mismatch (settings",
    ),
    "metric of a pair": (
        update(outcome).where(outcome.c.pair_index == 3).values(clean_metric=5.0),
        "the sums of z (whole, atp) do not match the pairs' metrics",
    ),
    "effect": (
        update(exact).where(exact.c.pair_index == 3, exact.c.cell == 0).values(effect=0.5),
        "the sums of z (whole, atp) do not match the exact rows",
    ),
    "inclusion": (
        update(exact).where(exact.c.pair_index == 3, exact.c.cell == 0).values(inclusion=0.999),
        "pair 3: an exact cell of z has inclusion 0.999, expected",
    ),
    "score of a cell": (
        update(exact).where(exact.c.pair_index == 3, exact.c.cell == 0).values(score=0.5),
        "pair 3: an exact cell of z has score 0.5, but",
    ),
    "state of a pair": (
        update(outcome).where(outcome.c.pair_index == 3).values(state="failed"),
        "its counts are 4 done, 0 failed, 0 skipped; its outcome rows give",
    ),
    "state of a chunk": (
        update(chunk).where(chunk.c.id == 2).values(state="pending"),
        "chunk 2 of job 1: state is pending, but 4 of its pairs are counted as finished",
    ),
    "state of a job": (update(job).values(state="running"), "job 1: state is running, but"),
    "count": (update(chunk).where(chunk.c.id == 1).values(done=3), "chunk 1 of job 1: its counts are 3 done"),
    "top component": (
        update(top_component)
        .where(top_component.c.pair_index == 3, top_component.c.rank == 1)
        .values(layer=9),
        "chunk 1 of job 1: checksum mismatch",
    ),
    "priority": (
        update(chunk).where(chunk.c.id == 2).values(priority=7),
        "priority is 0, but chunk 2 has 7",
    ),
    "weights": (update(provenance).values(weights_hash="other"), "provenance hash mismatch"),
    "end": (update(job).values(finished_at=job.c.finished_at + 1), "job 1: checksum mismatch (state, times"),
    "total": (
        update(total).where(total.c.site == "z").values(data=b"PGB1"),
        "job 1: checksum mismatch (state, times",
    ),
}


#: What follows from nothing else.
ALONE = {
    "warning": update(outcome).where(outcome.c.pair_index == 3).values(warning="a word"),
    "tokens": update(outcome).where(outcome.c.pair_index == 3).values(tokens=["t0", "t1", "x"]),
    "seconds": update(cost).where(cost.c.chunk_id == 1, cost.c.method == "atp").values(seconds=9.0),
    "attempts": update(chunk).where(chunk.c.id == 1).values(attempts=2),
    "time of a chunk": update(chunk).where(chunk.c.id == 1).values(finished_at=chunk.c.finished_at + 1),
    "row": delete(cost).where(cost.c.chunk_id == 1, cost.c.method == "atp"),
}


@pytest.mark.parametrize(("statement", "said"), FACTS.values(), ids=FACTS)
def test_a_changed_fact_is_found(database: Database, url: str, statement: Executable, said: str) -> None:
    """By what follows from it, whatever the checksums say."""
    run_job(database, submit_job(database))
    change(database, statement)
    assert said in problems(url)


@pytest.mark.parametrize("statement", ALONE.values(), ids=ALONE)
def test_what_follows_from_nothing_is_checksummed(
    database: Database, url: str, statement: Executable
) -> None:
    """The chunk's checksum is wrong."""
    run_job(database, submit_job(database))
    change(database, statement)
    assert "chunk 1 of job 1: checksum mismatch" in problems(url)


def with_other_score(data: bytes) -> bytes:
    """Change one score of a blob, and its checksum with it."""
    blob = unpack(data, "test")
    arrays = [array.copy() for array in blob.arrays]
    arrays[0][0, 0] += 0.25
    return pack(arrays, blob.meta)


def test_scores_that_someone_packed_anew_are_found(database: Database, url: str) -> None:
    """The sums are not theirs, nor the cells, nor the top components."""
    run_job(database, submit_job(database))
    mine = (scores.c.chunk_id == 1) & (scores.c.site == "z")
    with database.read() as session:
        data = session.scalars(select(scores.c.data).where(mine)).one()
    change(database, update(scores).where(mine).values(data=with_other_score(data)))
    found = problems(url)
    assert "the sums of z (whole, atp) do not match the stored scores" in found
    assert "pair 0: an exact cell of z" in found
    assert "chunk 1 of job 1: checksum mismatch" in found


def test_an_effect_whose_square_overflows_is_found(database: Database, url: str) -> None:
    """One flipped bit in an exponent is a problem of the database, not a warning of numpy."""
    run_job(database, submit_job(database))
    first = (exact.c.pair_index == 3) & (exact.c.cell == 0)
    change(database, update(exact).where(first).values(effect=1e200))
    assert "chunk 1 of job 1: checksum mismatch" in problems(url)


def test_scores_of_a_further_method_are_found(database: Database, url: str) -> None:
    """Beside the exact rows, by the sums over them."""
    run_job(database, submit_job(database, spec=make_spec(method="relp,atp")))
    first = (method_score.c.pair_index == 3) & (method_score.c.cell == 0)
    change(database, update(method_score).where(first).values(score=0.5))
    assert "the sums of z (whole, atp) do not match the exact rows" in problems(url)


def test_a_seed_that_fits_key_and_checksum_is_found_by_the_draw(database: Database, url: str) -> None:
    """Nobody but the sample knows which seed drew it."""
    run_job(database, submit_job(database, 40))
    with database.write() as session:
        spec = make_spec(seed=1)
        session.execute(update(job).values(spec=spec.as_dict(), key="own"))
        session.execute(update(provenance).values(seed=1))
        session.execute(delete(checksum))
    assert "the exact cells of z are not those drawn with the job's seed" in problems(url)


def test_without_scores_the_draw_still_tells_another_seed(database: Database, url: str) -> None:
    """Of a job that keeps sums alone."""
    run_job(database, submit_job(database, 40, spec=make_spec(detail="summary"), key="own"))
    with database.write() as session:
        session.execute(update(job).values(spec=make_spec(detail="summary", seed=1).as_dict()))
        session.execute(delete(checksum))
    assert "is not drawn with the job's seed" in problems(url)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (delete(outcome).where(outcome.c.pair_index == 9), "its outcome rows give {'done': 1}"),
        (delete(pair).where(pair.c.pair_index == 9), "job 1: 9 pairs are stored, expected 10"),
        (
            delete(pair).where(pair.c.pair_index == 9),
            "rows of table exact belong to pairs that do not exist",
        ),
        (update(pair).where(pair.c.pair_index == 9).values(job_id=77), "rows of table pair belong to jobs"),
        (update(exact).where(exact.c.pair_index == 9).values(pair_index=77), "rows of table exact"),
        (update(sums).where(sums.c.chunk_id == 2).values(data=b"PGB1"), "the sums of chunk 2, z, job 1"),
        (update(scores).where(scores.c.chunk_id == 3).values(data=b""), "scores of chunk 3, mlp_out, job 1"),
        (update(total).where(total.c.site == "z").values(data=b"PGB1"), "job 1: the total of z (whole, atp)"),
        (
            delete(sums).where(sums.c.chunk_id == 2, sums.c.kind == "aligned"),
            "missing sums of z (aligned, atp)",
        ),
        (delete(checksum).where(checksum.c.chunk_id == 2), "chunk 2 of job 1: its checksum is missing"),
        (update(chunk).where(chunk.c.id == 2).values(first=5), "chunk 2 starts at pair 5, expected 4"),
    ],
)
def test_rows_that_are_lost_or_damaged_are_found(
    database: Database, url: str, statement: Executable, said: str
) -> None:
    """They are named."""
    run_job(database, submit_job(database))
    change(database, statement)
    assert said in problems(url)


def test_what_to_do_is_said_once_for_each_kind_of_damage(database: Database, url: str) -> None:
    """With the jobs that it is about."""
    for count in (4, 5):
        run_job(database, submit_job(database, count))
    change(database, update(exact).where(exact.c.cell == 0).values(effect=7.0))
    (advice,) = checking.check(url).advice
    assert advice.startswith("Results of jobs 1, 2 are damaged: restore the database from a backup")


def test_missing_checksums_are_found(database: Database, url: str) -> None:
    """Of the job, of each chunk and of the job's end, one line each."""
    run_job(database, submit_job(database))
    change(database, delete(checksum))
    assert [line.partition(":")[0] for line in problems(url).splitlines()] == [
        *("job 1", "job 1"),
        *(f"chunk {number} of job 1" for number in (1, 2, 3)),
    ]
    assert problems(url).count("checksum") == 5


def test_a_row_that_refers_to_nothing_is_found(sqlite: Path) -> None:
    """As another program may leave it, with foreign keys off."""
    url = f"sqlite:///{sqlite}"
    with Database.open(url) as database:
        made = submit_job(database)
    other = sqlite3.connect(sqlite, isolation_level=None)
    other.execute(f"DELETE FROM job WHERE id = {made.id}")
    other.close()
    assert any("refers to a missing row of job" in line for line in checking.check(url).problems)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE outcome SET tokens = CAST(tokens AS BLOB) WHERE pair_index = 3",
            "chunk 1 of job 1: checksum mismatch",
        ),
        ("UPDATE outcome SET error = CAST(x'ff41' AS TEXT) WHERE pair_index = 3", "chunk 1"),
        ("UPDATE outcome SET tokens = '[' WHERE pair_index = 3", "pair 3: its tokens cannot be read"),
        ("UPDATE job SET spec = '{' WHERE id = 1", "job 1 cannot be read"),
        ('UPDATE job SET spec = \'{"sites": ["zz"]}\' WHERE id = 1', "job 1 cannot be read"),
        ("UPDATE exact SET layer = 'x' WHERE pair_index = 3", "chunk 1"),
        ("UPDATE exact SET layer = 99 WHERE pair_index = 3", "chunk 1"),
        ("UPDATE chunk SET finished_at = 'soon' WHERE id = 1", "chunk 1"),
        ("UPDATE sums SET kind = 'wholf' WHERE kind = 'whole'", "missing sums of z (whole, atp)"),
        (
            "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'chunk'",
            "ids of table chunk would be reused",
        ),
        ("DROP INDEX ix_chunk_model", "the definition of ix_chunk_model was changed"),
    ],
)
def test_what_only_another_program_can_write_is_found(sqlite: Path, statement: str, said: str) -> None:
    """Values of any type: no traceback, and the rest is checked all the same."""
    url = f"sqlite:///{sqlite}"
    with Database.open(url) as database:
        run_job(database, submit_job(database))
    other = sqlite3.connect(sqlite, isolation_level=None)
    other.execute(statement)
    other.close()
    assert said in problems(url)
