"""Finding out, when a model is loaded, which ways to compute less give this model's very numbers."""

import logging
from collections.abc import Callable
from dataclasses import fields, replace

import nnsight
import torch

from patchgrid.core.query import Query
from patchgrid.core.types import Component
from patchgrid.engine.checks.self_check import some_tokens
from patchgrid.engine.model.head import LogitTransform
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.patching.copies import Copy
from patchgrid.engine.patching.nodes import effects
from patchgrid.engine.runs.activations import model_inputs
from patchgrid.engine.runs.batches import make_batch
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.runs.question import Question
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.tokenization.tokens import TokenPair

_log = logging.getLogger(__name__)
#: Largest relative error of a shortcut: this, or this many roundings of the number type.
_ALLOWED, _ROUNDINGS = 1e-4, 16


def find_shortcuts(model: LoadedModel) -> Shortcuts:
    """Try the ways to compute less, together and, where that fails, one by one; give those that hold."""
    possible = Shortcuts(
        last_block=all(block.mlp is not None for block in model.layout.blocks),
        head=model.transform is not None,
        attention=model.layout.attention_adds,
    )
    plain = _numbers(replace(model, shortcuts=Shortcuts.none()))
    if _holds(model, possible, plain):
        return possible
    kept = {
        field.name: _holds(model, replace(Shortcuts.none(), **{field.name: True}), plain)
        for field in fields(Shortcuts)
        if getattr(possible, field.name)
    }
    working = replace(Shortcuts.none(), **kept)
    _log.info("%s: shortcut disabled (%s)", model.name, working)
    return working if _holds(model, working, plain) else Shortcuts.none()


def _holds(model: LoadedModel, shortcuts: Shortcuts, plain: torch.Tensor) -> bool:
    def same(model: LoadedModel) -> bool:
        numbers = _numbers(replace(model, shortcuts=shortcuts))
        allowed = max(_ALLOWED, _ROUNDINGS * torch.finfo(model.dtype).eps)
        return bool((numbers - plain).norm() <= allowed * plain.norm())

    return _gives(same, model)


def _gives(check: Callable[[LoadedModel], bool], model: LoadedModel) -> bool:
    """Make a check; one that raises, whatever it is, says that this model's code goes another way."""
    try:
        return check(model)
    except Exception as error:  # noqa: BLE001
        _log.debug("%s: %s: %s", model.name, check.__name__, error)
        return False


def _numbers(model: LoadedModel) -> torch.Tensor:
    """Metrics of the two runs of two pairs, and of a patch in the middle of the model."""
    ids = some_tokens(model)
    other = (*ids[:2], *reversed(ids[2:]))
    pairs = [TokenPair(row, ids[row:], other[row:], (ids[0],), (ids[1],)) for row in (0, 1)]
    passes = Passes(
        model,
        make_batch(pairs, ids[0], model.device),
        Question(Query(("z",), metric="logprob")),
        patching=True,
    )
    component = Component("z", model.layout.n_layers // 2)
    with torch.no_grad():
        runs = torch.cat([passes.base_metric, passes.source_metric()]).cpu()
        copies = [Copy(row, component) for row in range(len(pairs))]
        return torch.cat([runs, runs[: len(pairs)] + effects(passes, copies, 1024, lambda _count: None)])


@torch.no_grad()
def find_transform(model: LoadedModel) -> LogitTransform | None:
    """Find what the model does to its logits: what its configuration names, if that is what it does."""
    try:
        before_transform, logits = _behind_the_head(model)
    except Exception as error:  # noqa: BLE001 (whatever it is, it says that this model's code goes another way)
        _log.debug("%s: %s", model.name, error)
        return None
    config = model.envoy._module.config.get_text_config()  # noqa: SLF001
    allowed = _ROUNDINGS * torch.finfo(before_transform.dtype).eps
    for transform in LogitTransform.candidates(config):
        if torch.allclose(transform(before_transform), logits, rtol=allowed, atol=allowed):
            return transform
    return None


def _behind_the_head(model: LoadedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Have the head give chosen logits, `[entry]`; give them, and what the model makes of them."""
    ids = some_tokens(model)
    pair = TokenPair(0, ids, tuple(reversed(ids)), (ids[0],), (ids[1],))
    batch = make_batch([pair], ids[0], model.device)
    rows = Rows.of(batch, batch.clean, [0])
    head = model.layout.head
    chosen_logits = torch.linspace(-80, 80, model.vocabulary, device=model.device)
    with model.envoy.trace(**model_inputs(model, rows, 0, None)):
        head.skip(chosen_logits[None, None].to(head.input.device))
        logits = nnsight.save(model.envoy.output.logits)
    return chosen_logits, logits[0, 0].to(chosen_logits)
