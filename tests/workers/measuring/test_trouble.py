"""Pairs that a model cannot give numbers for, and memory that runs out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from patchgrid.engine import Engine, JobSpec, Pair
from patchgrid.engine.patching.nodes import effects
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.runner import run_job
from support.engine.models import TestModel, random_model
from support.engine.vocabulary import build_tokenizer, token_id
from support.workers.working import exported, job_of, make_pairs, submit

ENOUGH = 10_000
SPEC = JobSpec.of("tiny", sites=("z", "resid_mid", "mlp_out"), exact=0.2, exact_per_component=30)


def load(folder: Path, change: Callable[[Any], None], dtype: str = "float32") -> Engine:
    """Save the tiny model with some weights changed, and load it."""
    model = random_model("gpt2")
    with torch.no_grad():
        change(model)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return Engine.load(str(folder), device="cpu", dtype=dtype)


def untie(model: Any) -> torch.Tensor:
    """Untie the model's output matrix, and return it."""
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    weight: torch.Tensor = model.lm_head.weight
    return weight


def test_a_model_whose_logits_are_nan_fails_every_pair(database: Database, tmp_path: Path) -> None:
    """The job ends failed, each pair with the reason; no number is stored."""
    engine = load(tmp_path / "model", lambda model: untie(model).fill_(torch.nan))
    job = submit(database, SPEC, make_pairs(5), chunk_size=3)
    run_job(database, engine, job)
    with database.read() as session:
        assert jobs.get(session, job.id).state == "failed"
        reasons = jobs.errors(session, job.id)
    assert len(reasons) == 5
    for _, reason in reasons:
        assert reason == "the metric of the clean run is not finite: the model's logits are NaN or infinite"
    rows = exported(database, job)
    assert not rows["scores"] + rows["exact"] + rows["components"]


def test_one_bad_token_fails_only_the_pairs_that_contain_it(
    database: Database, tiny: TestModel, engine: Engine, tmp_path: Path
) -> None:
    """One token's embedding is NaN: its pairs fail, the others' numbers are those of the healthy model."""

    def spoil(model: Any) -> None:
        untie(model)
        model.transformer.wte.weight[token_id(" Kate")] = torch.nan

    sick = load(tmp_path / "model", spoil)
    pairs = make_pairs(16)
    bad = {index for index, pair in enumerate(pairs) if " Kate" in pair.clean + pair.corrupted}
    assert 2 <= len(bad) <= 8
    job = submit(database, SPEC, pairs, chunk_size=6)
    run_job(database, sick, job)
    with database.read() as session:
        assert jobs.get(session, job.id).state == "done"
        assert {name for name, _ in jobs.errors(session, job.id)} == bad
        assert all("not finite" in reason for _, reason in jobs.errors(session, job.id))
    healthy = submit(database, SPEC, pairs, chunk_size=6, key="healthy")
    run_job(database, engine, healthy)
    for what in ("scores", "exact"):
        found = exported(database, job)[what]
        expected = [row for row in exported(database, healthy)[what] if row["pair"] not in bad]
        assert len(found) == len(expected) > 0
        for left, right in zip(found, expected, strict=True):
            for field, value in right.items():
                near = pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
                assert left[field] == near
    assert {row["n"] for row in exported(database, job)["components"]} == {16 - len(bad)}


def test_an_effect_that_is_nan_fails_its_pair(engine: Engine) -> None:
    """Scores were there, a patched run gave none: the pair's scores and cells are left out of every sum."""
    pairs = make_pairs(6)
    job = job_of(SPEC, len(pairs))
    healthy = measure_chunk(engine, job, 0, pairs, batch_tokens=ENOUGH)

    spoilt: list[int] = []

    def spoil(_module: object, _args: object, output: Any) -> Any:
        if output.logits.shape[0] > len(pairs) and not spoilt:  # the first forward pass of patched copies
            spoilt.append(0)
            output.logits[0] = torch.nan
        return output

    with engine._model.envoy._module.register_forward_hook(spoil):
        chunk = measure_chunk(engine, job, 0, pairs, batch_tokens=ENOUGH)
    [bad] = [outcome.index for outcome in chunk.outcomes if outcome.state == "failed"]
    assert "is not finite" in str(chunk.outcomes[bad].error)
    good = [pair for index, pair in enumerate(pairs) if index != bad]
    alone = measure_chunk(engine, job, 0, good, batch_tokens=ENOUGH)
    for site in SPEC.query.sites:
        np.testing.assert_allclose(
            chunk.sums[site, "whole"].to_array()[:4], alone.sums[site, "whole"].to_array()[:4], rtol=1e-4
        )
        assert len(chunk.scores[site]) == 5
    assert chunk.exact == [cell for cell in healthy.exact if cell.row != bad]


def test_scores_that_are_not_finite_fail_their_pair(tmp_path: Path) -> None:
    """In float16 the forward passes may stay within range where the gradient does not."""

    def overflow(model: Any) -> None:
        model.transformer.ln_f.weight.fill_(1e4)
        weight = untie(model)
        weight.fill_(0)
        weight[token_id(" Mary"), ::2] = 1e3
        weight[token_id(" John"), ::2] = -1e3

    engine = load(tmp_path, overflow, dtype="float16")
    pairs = [
        Pair("When Mary and John took", "When John and John took", " Mary", " John"),
        Pair("When Alice and Tom took", "When Tom and Tom took", " Alice", " Tom"),
    ]
    chunk = measure_chunk(engine, job_of(SPEC, 2), 0, pairs, batch_tokens=ENOUGH)
    assert [outcome.state for outcome in chunk.outcomes] == ["failed", "done"]
    assert chunk.outcomes[0].error == (
        "the scores of z are not finite: the metric's gradient is NaN or infinite"
    )
    assert chunk.sums["z", "whole"]["n"].max() == 1


class Memory:
    """Stands for a device whose memory holds a forward pass of so many rows and no more."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self._rows = rows
        self._module = engine._model.envoy._module
        #: Rows of every forward pass that was tried.
        self.tried: list[int] = []

    def __enter__(self) -> "Memory":
        self._handle = self._module.register_forward_pre_hook(self._check, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _check(self, _module: object, _args: object, inputs: dict[str, Any]) -> None:
        self.tried.append(len(inputs["input_ids"]))
        if self.tried[-1] > self._rows:
            raise torch.OutOfMemoryError


def test_batches_are_halved_when_memory_runs_out(engine: Engine) -> None:
    """Room for three rows at a time: the same outcomes, scores, cells and sums as with room for all."""
    pairs = make_pairs(11)
    job = job_of(SPEC, 100)
    roomy = measure_chunk(engine, job, 0, pairs, batch_tokens=ENOUGH)
    with Memory(engine, rows=3) as memory:
        tight = measure_chunk(engine, job, 0, pairs, batch_tokens=ENOUGH)
    assert max(memory.tried) >= 11
    assert [outcome.state for outcome in tight.outcomes] == ["done"] * 11
    assert len(tight.exact) == len(roomy.exact) > 20
    for found, expected in zip(tight.exact, roomy.exact, strict=True):
        assert (found.row, found.site, found.layer, found.index) == (
            expected.row,
            expected.site,
            expected.layer,
            expected.index,
        )
        assert found.effect == pytest.approx(expected.effect, rel=1e-4, abs=2e-6)
    for key, sums in roomy.sums.items():
        # Weights hang on scores near zero, which rounding moves by up to 5e-4 of themselves.
        np.testing.assert_allclose(tight.sums[key].to_array(), sums.to_array(), rtol=1e-3, atol=1e-4)
    for site in SPEC.query.sites:
        for found, expected in zip(tight.scores[site], roomy.scores[site], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_pair_too_large_for_memory_alone_fails(engine: Engine) -> None:
    """Not even one row fits: every pair has that as its reason, and the run goes on."""
    with Memory(engine, rows=0):
        chunk = measure_chunk(engine, job_of(SPEC, 100), 0, make_pairs(3))
    assert {outcome.state for outcome in chunk.outcomes} == {"failed"}
    assert all(
        str(outcome.error).startswith("out of memory with a batch of this pair alone")
        for outcome in chunk.outcomes
    )


def test_a_pair_whose_patching_does_not_fit_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores were there and its cells drawn: they are left out, and the others' are all there."""
    pairs = make_pairs(6)
    job = job_of(SPEC, 100)
    healthy = measure_chunk(engine, job, 0, pairs, batch_tokens=ENOUGH)

    def too_large(passes: Any, *rest: Any) -> Any:
        if any(pair.index == 2 for pair in passes.batch.pairs):
            raise torch.OutOfMemoryError
        return effects(passes, *rest)

    monkeypatch.setattr("patchgrid.engine.calls.effects", too_large)
    chunk = measure_chunk(engine, job, 0, pairs, batch_tokens=ENOUGH)
    assert [outcome.index for outcome in chunk.outcomes if outcome.state == "failed"] == [2]
    assert "out of memory with a batch of this pair alone" in str(chunk.outcomes[2].error)
    expected = [cell for cell in healthy.exact if cell.row != 2]
    assert [(c.row, c.site, c.layer, c.index) for c in chunk.exact] == [
        (c.row, c.site, c.layer, c.index) for c in expected
    ]
