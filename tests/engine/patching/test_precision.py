"""In 16-bit models logits are made in float32: effects are as exact as the stream they come from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from patchgrid.core.names import METRICS
from patchgrid.core.query import Query
from patchgrid.engine import Component, Engine, Pair
from patchgrid.engine.model import head
from patchgrid.engine.model.head import Head, LogitTransform
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.question import Question
from patchgrid.engine.tokenization.tokens import TokenPair
from reference.patching import Reference
from reference.patching import TokenPair as Ids
from reference.rounding import Float32Head, effects, rounded
from support.engine.cases import assert_close
from support.engine.models import save_confident_model
from support.engine.prompts import PAIRS

#: What logits go through in each: nothing, a factor, a cap, a norm without weights, more projections.
TAILS = ("llama", "gpt2", "granite", "cohere", "gemma2", "nanochat", "opt_projected", "modernbert-decoder")
SITES = ("z", "attn_out", "mlp_out", "resid_post")
PROMPTS = PAIRS[0]


def answered(tokenizer: Any, model: Any) -> Ids:
    """Return the prompts as ids; the answers are the most likely next tokens."""
    sides = [tokenizer(text).input_ids for text in (PROMPTS.clean, PROMPTS.corrupted)]
    with torch.no_grad():
        best = [model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2).indices.tolist() for ids in sides]
    correct = best[0][0]
    return Ids(*sides, [correct], [next(token for token in best[1] if token != correct)])


@pytest.mark.parametrize(
    ("family", "dtype"), [*((family, "bfloat16") for family in TAILS), ("gemma2", "float16")]
)
def test_a_16_bit_model_gives_the_numbers_of_its_own_stream_read_out_in_float32(
    family: str, dtype: str, tmp_path: Path
) -> None:
    """Plain hooks on the 16-bit model, its last block's output put into a float32 model of the same weights.

    The largest logits are about 20: made in 16 bits, most of an effect would be rounding.
    """
    made = save_confident_model(family, tmp_path, PROMPTS.clean)
    model, exact = rounded(made.folder, getattr(torch, dtype))
    ids = answered(made.tokenizer, exact)
    plain = Float32Head(model, exact)
    components = [Component(site, layer) for site in SITES for layer in range(exact.config.num_hidden_layers)]
    expected = effects(plain, [ids], components, METRICS)
    loaded = Engine.load(str(made.folder), dtype=dtype)
    assert loaded.shortcuts.head
    pair = Pair(PROMPTS.clean, PROMPTS.corrupted, ids.correct, ids.incorrect)
    for name, shortcuts in (("none", Shortcuts.none()), ("head", replace(Shortcuts.none(), head=True))):
        engine = loaded.with_shortcuts(shortcuts)
        for metric in METRICS:
            found = engine.patch([pair], components, metric=metric, batch_tokens=1)
            assert_close(found, expected[metric], 1e-3, f"{name}, {metric}")
            [result] = engine.attribute([pair], sites=SITES, metric=metric)
            for site, scores in Reference(plain, ids, "denoise").scores(metric).items():
                if site in SITES:
                    # The hooks' own products are rounded to 16 bits.
                    assert_close(
                        result.scores["atp"][site], scores, 2e-2, f"{name}, {metric}, scores of {site}"
                    )


@pytest.mark.parametrize("family", ["gemma2", "granite"])
def test_logits_that_no_record_explains_are_made_by_the_model_s_own_code_in_float32(
    family: str, tmp_path: Path
) -> None:
    """A configuration that names its cap or factor otherwise: slower, and the same numbers."""
    made = save_confident_model(family, tmp_path, PROMPTS.clean)
    engine = Engine.load(str(made.folder), dtype="bfloat16")
    components = [Component("z", 0), Component("resid_post", 1)]
    expected = engine.patch([PROMPTS], components, metric="logprob")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LogitTransform, "candidates", lambda _config: [LogitTransform()])
        # What the first load found is remembered.
        patched.setenv("PATCHGRID_CACHE", str(tmp_path / "cache"))
        unknown = Engine.load(str(made.folder), dtype="bfloat16")
    assert not unknown.shortcuts.head
    assert_close(unknown.patch([PROMPTS], components, metric="logprob"), expected, 1e-5, family)


def test_a_head_of_16_bits_is_copied_to_float32_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients are those of the whole float32 head, whatever the parts."""
    torch.manual_seed(0)
    module = torch.nn.Linear(8, 50).bfloat16().requires_grad_(requires_grad=False)
    last, weights = torch.randn(3, 8, requires_grad=True), torch.randn(3, 50)
    exact = last @ module.weight.float().T + module.bias.float()
    [slope] = torch.autograd.grad((exact * weights).sum(), last)
    monkeypatch.setattr(head, "_AT_ONCE", 7 * 8)
    logits = Head.of(module).all(last)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact)
    torch.testing.assert_close(torch.autograd.grad((logits * weights).sum(), last)[0], slope)


def test_the_preference_compares_the_answers_summed_probabilities(tmp_path: Path) -> None:
    """Whatever the metric reads, and however many answers a side has."""
    made = save_confident_model("gemma2", tmp_path, PROMPTS.clean)
    pair = TokenPair(0, (5, 6, 7), (5, 8, 7), (9, 10), (11,))
    with torch.no_grad():
        logits = made.model(input_ids=torch.tensor([pair.clean])).logits[0, -1].log_softmax(-1)
    expected = float(logits[[9, 10]].logsumexp(0) - logits[11])
    for shortcuts in (None, Shortcuts.none()):
        engine = Engine.load(str(made.folder), dtype="float32")
        model = (engine if shortcuts is None else engine.with_shortcuts(shortcuts))._model
        batch = make_batch([pair], 0, model.device)
        for metric in ("logit_diff", "kl"):
            passes = Passes(model, batch, Question(Query(("z",), (), metric, "noise")))
            assert float(passes.base_preference()) == pytest.approx(expected, rel=1e-4)
