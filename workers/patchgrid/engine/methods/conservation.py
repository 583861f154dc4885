"""The check that the backward rules conserve relevance in every block.

With a rule for each norm, activation and product, what a block adds to the stream is a linear function of
the block's input, of its attention's heads (`z`, whatever made them) and of its biases. It then equals the
sum of each of these times its own gradient (relevance is conserved), which it does not where an activation is
a plain function, or experts are chosen by a router.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgrid.engine.checks.self_check import some_tokens
from patchgrid.engine.methods.backward_rules import Activation, Gate, Norm, Rules
from patchgrid.engine.model.layout import Block
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.activations import first_output, model_inputs
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.tokenization.tokens import TokenPair

#: Largest error relative to the sum of all parts' sizes: this, or this many roundings.
_ALLOWED, _ROUNDINGS = 1e-4, 4


@dataclass(frozen=True, slots=True)
class _Seen:
    """A block's input, its z (of which nothing before is a part), and its output."""

    block_input: Tensor
    z: Tensor
    output: Tensor


def check_rules(model: LoadedModel, rules: Rules) -> str | None:
    """Describe the first block whose rules do not conserve relevance; None if all do."""
    leaves = [_leaves(block, rules) for block in model.layout.blocks]
    try:
        for leaf in (leaf for each in leaves for leaf in each):
            leaf.requires_grad = True
        with torch.enable_grad():
            return _first_wrong(model, rules, _run(model, rules), leaves)
    finally:
        for leaf in (leaf for each in leaves for leaf in each):
            leaf.requires_grad = False


def _leaves(block: Block, rules: Rules) -> list[Tensor]:
    """List what a block adds of its own: its biases, of its norms those that their rules have."""
    module = block.layer._module  # noqa: SLF001 (the torch module itself: no trace is under way)
    within = {id(each) for each in module.modules()}
    named = [each for name, each in module.named_parameters() if "bias" in name.rpartition(".")[2]]
    norms = [rule for rule in rules.in_order if isinstance(rule, Norm)]
    return named + [norm.bias for norm in norms if id(norm.module._module) in within]  # noqa: SLF001


def _first_wrong(
    model: LoadedModel, rules: Rules, seen: Sequence[_Seen], leaves: Sequence[list[Tensor]]
) -> str | None:
    allowed = max(_ALLOWED, _ROUNDINGS * torch.finfo(model.dtype).eps)
    for layer, block in enumerate(seen):
        added = (block.output - block.block_input).float()
        weights = torch.randn(added.shape, generator=torch.Generator().manual_seed(layer)).to(added)
        total = (added * weights).sum()
        parts = [block.block_input, block.z, *leaves[layer]]
        gradients = torch.autograd.grad(total, parts, retain_graph=True, allow_unused=True)
        shares = [
            part.detach().float() * gradient.float()
            for part, gradient in zip(parts, gradients, strict=True)
            if gradient is not None
        ]
        conserved, size = (
            sum(float(each.sum()) for each in some) for some in (shares, map(torch.abs, shares))
        )
        if not abs(conserved - float(total.detach())) <= allowed * size:
            return _message(model, rules, layer)
    return None


def _message(model: LoadedModel, rules: Rules, layer: int) -> str:
    within = {id(each) for each in model.layout.blocks[layer].layer._module.modules()}  # noqa: SLF001
    counts = {"norms": Norm, "activations": Activation, "gated products": Gate}
    handles = [(rule, rule.reader if isinstance(rule, Gate) else rule.module) for rule in rules.in_order]  # type: ignore[attr-defined]
    rule_counts = [
        f"{sum(isinstance(rule, kind) and id(handle._module) in within for rule, handle in handles)} {name}"  # noqa: SLF001
        for name, kind in counts.items()
    ]
    name = type(model.layout.blocks[layer].layer._module).__name__  # noqa: SLF001
    return (
        f"block {layer} ({name}) has a nonlinear operation outside any module, such as an activation called "
        f"as a function, or experts chosen by a router; found: {', '.join(rule_counts)}. "
        "Use ig, which needs no rules"
    )


def _run(model: LoadedModel, rules: Rules) -> list[_Seen]:
    """Run a few tokens under the rules, each block's z cut off from what made it."""
    ids = some_tokens(model)
    batch = make_batch([TokenPair(0, ids, ids, (ids[0],), (ids[1],))], ids[0], model.device)
    rows = Rows.of(batch, batch.clean, [0])
    seen: list[_Seen] = []
    with model.envoy.trace() as tracer:
        with tracer.invoke(**model_inputs(model, rows, 0, None)):
            rules.apply()
        with tracer.invoke():
            seen.extend(_block(block) for block in model.layout.blocks)
    return seen


def _block(block: Block) -> _Seen:
    """Inside the trace, read one block's parts."""
    block_input = block.layer.input
    if not block_input.requires_grad:
        block_input.requires_grad_()
    z = block.projection.input.detach().requires_grad_()
    block.projection.input = z
    return _Seen(block_input, z, first_output(block.layer.output))
