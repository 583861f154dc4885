"""`patchgrid model`: what patchgrid makes of a model."""

from typing import TYPE_CHECKING, Any

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.engines import load_engine, model_name, quietly
from patchgrid.cli.errors import DONE, REFUSED
from patchgrid.cli.options import device_option, dtype_option, revision_option
from patchgrid.cli.screen import say, show_json
from patchgrid.cli.tables import Column, show_table
from patchgrid.engine.errors import PairError
from patchgrid.engine.types import Component, Pair

if TYPE_CHECKING:
    from patchgrid.engine import Engine

#: Prompts of words, letters and digits: some tokenizer or other gives both sides of one the same length.
_PROMPTS = (
    ("When Mary and John went to the shop, John gave", "When John and Mary went to the shop, Mary gave"),
    ("one two three four", "two one three four"),
    ("a b c d e", "b a c d e"),
    ("1 2 3 4 5", "2 1 3 4 5"),
)
#: Difference allowed between the two ways to the same metric, as a share of the metrics' size.
_ALLOWED = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}


@click.group()
def model() -> None:
    """Check that a model is understood."""


@model.command()
@click.argument("name", metavar="MODEL")
@revision_option
@device_option
@dtype_option
@with_settings
def check(settings: Settings, /, name: str, revision: str | None, device: str, dtype: str) -> int:
    """Load MODEL (a hub id or a local folder) and check that its parts are what they are taken for.

    Two checks: each block's input, attention and MLP add up to its output; and patching everything that goes
    into the first block, exactly, turns the corrupted run into the clean one. Exit code 2, with the reason,
    if the model cannot be measured.
    """
    engine = load_engine(model_name(name), revision=revision, device=device, dtype=dtype)
    with quietly():
        identity = patching_identity(engine)
    facts = _facts(engine, identity)
    wrong = identity is not None and identity > _ALLOWED.get(engine.provenance.dtype, 1e-3)
    if settings.json:
        show_json({_key(name): value for name, value in facts} | {"ok": not wrong})
    else:
        show_table([Column("model"), Column(str(engine.provenance.model))], [(n, _text(v)) for n, v in facts])
    if wrong:
        say("Error: patching the whole input does not give the clean run: this model is not understood")
    return REFUSED if wrong else DONE


def patching_identity(engine: "Engine") -> float | None:
    """Patch the first block's whole input and compare with the clean run.

    Returns the difference as a share of the metrics' size, or None if no prompt fits the tokenizer.
    """
    for clean, corrupted in _PROMPTS:
        pair = Pair(clean, corrupted, correct=1, incorrect=2)  # type: ignore[arg-type]
        try:
            effect = float(engine.patch([pair], [Component("resid_pre", 0)])[0, 0])
        except PairError:
            continue
        result = engine.attribute([pair], sites=("resid_pre",))[0]
        difference = effect - (result.clean_metric - result.corrupted_metric)
        return abs(difference) / max(abs(result.clean_metric), abs(result.corrupted_metric), 1e-6)
    return None


def _facts(engine: "Engine", identity: float | None) -> list[tuple[str, Any]]:
    layout, made = engine.layout, engine.provenance
    return [
        ("model type", _model_type(made.model, made.revision)),
        ("layers", layout.n_layers),
        ("heads", layout.n_heads),
        ("head dim", layout.head_dim),
        ("width", layout.d_model),
        ("context", layout.context),
        ("parallel", layout.parallel),
        ("sites", list(layout.sites)),
        ("dtype", made.dtype),
        ("device", made.device),
        ("revision", made.revision),
        ("weights", made.weights_hash),
        ("self-check error", engine.self_check.error),
        ("self-check allowed", engine.self_check.allowed),
        ("patching identity error", identity),
    ]


def _key(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")


def _model_type(name: str, revision: str | None) -> str:
    """Read the architecture's name from the configuration, which the engine has loaded already."""
    from transformers import AutoConfig

    return str(AutoConfig.from_pretrained(name, revision=revision).model_type)


def _text(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else value
