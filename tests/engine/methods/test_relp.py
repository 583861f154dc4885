"""Relevance patching against its rules written out by hand, and against what they promise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from patchgrid.core.errors import SpecError
from patchgrid.engine import Engine
from patchgrid.engine.methods.backward_rules import Activation, Gate, Norm
from patchgrid.engine.methods.rule_modules import find_rules
from patchgrid.engine.runs.activations import RunOptions, run
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.tokenization.tokens import TokenPair
from reference.patching import Reference
from reference.relevance import relevance_rules
from support.engine.cases import Case, assert_close
from support.engine.models import FAMILIES
from support.engine.shapes import CONTEXT, LAYERS
from support.engine.vocabulary import VOCABULARY, build_tokenizer

CaseOf = Callable[[str], Case]
#: Families whose rules the reference has by hand.
BY_HAND = ("gpt2", "llama", "gemma2", "gemma3_text", "gpt_neox", "gpt_neox_serial")
#: Families that the rules are found for: not those whose experts a router chooses.
RULED = tuple(name for name in FAMILIES if name != "mixtral")
#: Norms a block, with those of queries and keys; gated or not.
FOUND = {
    "gpt2": (2, 0),
    "llama": (2, 1),
    "qwen3": (4, 1),
    "gemma2": (4, 1),
    "gemma3_text": (6, 1),
    "gpt_neox": (2, 0),
    "phi": (3, 0),
    "phi3": (2, 1),
    "olmo2": (4, 1),
    "opt": (2, 0),
}


@pytest.mark.parametrize(
    ("direction", "metric"), [("denoise", "logit_diff"), ("denoise", "kl"), ("noise", "prob_diff")]
)
@pytest.mark.parametrize("family", [*BY_HAND, "demo_model"])
def test_scores_are_those_of_the_rules_written_out(
    case_of: CaseOf, family: str, direction: str, metric: str
) -> None:
    """Every site of pairs of differing lengths, scored in one call."""
    case = case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=case.sites, method="relp", direction=direction, metric=metric
    )
    for index, (result, pair) in enumerate(zip(results, case.token_pairs, strict=True)):
        with relevance_rules(case.model.model):
            reference = Reference(case.model.model, pair, direction)
            expected = reference.scores(metric)
        for site, scores in expected.items():
            assert_close(result.scores["relp"][site], scores, 1e-4, f"pair {index}, {site}", 1e-6)


@pytest.mark.parametrize("family", FOUND)
def test_norms_activations_and_gates_are_found_by_what_they_do(case_of: CaseOf, family: str) -> None:
    """Those of queries and keys and the last one among them, and an activation a block."""
    rules = find_rules(case_of(family).engine._model).in_order
    norms, gates = FOUND[family]
    count = {kind: sum(isinstance(rule, kind) for rule in rules) for kind in (Norm, Activation, Gate)}
    assert count == {Norm: norms * LAYERS + 1, Activation: LAYERS, Gate: gates * LAYERS}


@pytest.mark.parametrize("family", RULED)
def test_no_forward_value_changes(case_of: CaseOf, family: str) -> None:
    """Under the rules every activation is, bit for bit, what it is without."""
    model = case_of(family).engine._model
    ids = tuple(range(5, 12))
    batch = make_batch([TokenPair(0, ids, ids, (3,), (4,))], 0, model.device)
    rows = Rows.of(batch, batch.clean, [0])
    parts = frozenset({"z", "attn_out", "mlp_out"})
    plain = run(model, rows, RunOptions(parts))
    ruled = run(model, rows, RunOptions(parts, grad=True, rules=find_rules(model).apply))
    assert torch.equal(plain.last, ruled.last)
    for part in ("z", "attn_out", "mlp_out"):
        for one, other in zip(getattr(plain, part), getattr(ruled, part), strict=True):
            assert torch.equal(one, other), part


@pytest.mark.parametrize("family", RULED)
def test_every_family_s_scores_are_other_than_plain_gradients(case_of: CaseOf, family: str) -> None:
    """Beside atp in one call, each as alone, and with the same metrics."""
    case = case_of(family)
    both = case.engine.attribute(case.pairs, sites=case.sites, method=("atp", "relp"))
    alone = case.engine.attribute(case.pairs, sites=case.sites, method="relp", batch_tokens=1)
    for result, expected in zip(both, alone, strict=True):
        assert result.clean_metric == pytest.approx(expected.clean_metric, rel=1e-5, abs=5e-6)
        for site, scores in expected.scores["relp"].items():
            assert_close(result.scores["relp"][site], scores, 1e-5, site, 1e-6)
        assert not np.allclose(result.scores["atp"]["mlp_out"], expected.scores["relp"]["mlp_out"], rtol=1e-2)


def test_an_activation_that_is_0_somewhere_has_a_finite_score(case_of: CaseOf) -> None:
    """act(x) / x at x = 0 is what it tends to there."""
    rule = next(
        rule for rule in find_rules(case_of("gpt2").engine._model).in_order if isinstance(rule, Activation)
    )
    x = torch.tensor([-1.0, 0.0, 1e-30, 2.0], requires_grad=True)
    [gradient] = torch.autograd.grad(rule.linear(x, torch.nn.functional.gelu(x)).sum(), x)
    expected = torch.tensor([float(torch.nn.functional.gelu(torch.tensor(-1.0))) / -1.0, 0.5, 0.5, 0.97725])
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3)


def _save(model_type: str, folder: Path, **sizes: int) -> None:
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        **sizes,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)


def test_an_activation_called_as_a_function_is_refused(
    tmp_path: Path, case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gradient would silently be the plain one: the block is named, and what would work."""

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))

    monkeypatch.setattr(LlamaMLP, "forward", forward)
    _save("llama", tmp_path)
    engine = Engine.load(str(tmp_path), device="cpu", dtype="float32")
    pairs = case_of("gpt2").pairs[1:2]
    with pytest.raises(SpecError, match=r"block 0 \(LlamaDecoderLayer\).*nonlinear.*0 activations.*Use ig"):
        engine.attribute(pairs, method="relp")
    assert engine.attribute(pairs, method=("atp", "ig"))[0].error is None


def test_experts_chosen_by_a_router_are_refused(tmp_path: Path, case_of: CaseOf) -> None:
    """No rule is known for the router's weights, which the experts' outputs are multiplied by."""
    _save("mixtral", tmp_path, num_local_experts=4)
    engine = Engine.load(str(tmp_path), device="cpu", dtype="float32")
    with pytest.raises(SpecError, match="relp is not supported for this model") as refused:
        engine.attribute(case_of("gpt2").pairs[1:2], method="relp")
    assert refused.value.field == "method"
