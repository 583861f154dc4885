"""`patchgrid model`: what patchgrid makes of a model."""

from typing import TYPE_CHECKING, Any

import click

from patchgrid.api.client.engines import load_engine
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import DONE, FAILED
from patchgrid.cli.options import device_option, dtype_option, revision_option
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.names import model_name
from patchgrid.engine.checkpoint.quiet import quietly

if TYPE_CHECKING:
    from patchgrid.engine import Engine
    from patchgrid.engine.modelcheck import Check, ModelReport


@click.group()
def model() -> None:
    """Check whether a model is supported."""


@model.command()
@click.argument("name", metavar="MODEL")
@revision_option
@device_option
@dtype_option
@with_settings
def check(settings: Settings, /, name: str, revision: str | None, device: str, dtype: str) -> int:
    """Show which sites MODEL (a hub id or a local folder) supports, and check its numbers.

    Three checks on a few tokens: each block's input, attention and MLP add up to its output; the scores of
    three components equal the slopes found by small steps toward the source; and patching the whole input of
    the first block gives the source's metric. Exit code 1 if a check fails; 2, with what is missing, if the
    model is not supported.
    """
    engine = load_engine(
        model_name(name), revision=revision, device=device, dtype=dtype, recheck=True, say=say
    )
    with quietly():
        report = engine.check()
    facts = _facts(engine, report)
    if settings.json:
        checks = [_check_json(each) for each in report.checks]
        show_json({_key(name): value for name, value in facts} | {"checks": checks, "ok": report.passed})
    else:
        show_table([Column("model"), Column(str(engine.provenance.model))], [(n, _text(v)) for n, v in facts])
        click.echo()
        show_table(_CHECK_COLUMNS, [_check_row(each) for each in report.checks])
    if not report.passed:
        failed = ", ".join(each.name for each in report.checks if not each.passed)
        say(f"Error: this model is not supported, its numbers would be wrong: {failed}")
    return DONE if report.passed else FAILED


_CHECK_COLUMNS = [
    Column("check"),
    Column("result"),
    Column("error"),
    Column("allowed"),
    Column("what was compared"),
]


def _check_row(check: "Check") -> tuple[object, ...]:
    result = "skip" if check.error is None else "pass" if check.passed else "FAIL"
    return check.name, result, _text(check.error), _text(check.allowed), check.detail


def _check_json(check: "Check") -> dict[str, Any]:
    return {
        "name": check.name,
        "error": check.error,
        "allowed": check.allowed,
        "ok": check.passed,
        "detail": check.detail,
    }


def _facts(engine: "Engine", report: "ModelReport") -> list[tuple[str, Any]]:
    layout, provenance = engine.layout, engine.provenance
    return [
        ("model type", report.model_type),
        ("found by", report.found_by),
        ("layers", layout.n_layers),
        ("heads", layout.n_heads),
        ("kv heads", report.kv_heads),
        ("head dim", layout.head_dim),
        ("width", layout.d_model),
        ("context", layout.context),
        ("parallel", layout.parallel),
        ("sites", list(layout.sites)),
        ("missing sites", report.missing),
        ("shortcuts", report.shortcuts),
        ("dtype", provenance.dtype),
        ("device", provenance.device),
        ("revision", provenance.revision),
        ("weights", provenance.weights_hash),
    ]


def _key(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")


def _text(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(each)}" for name, each in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2g}" if isinstance(value, float) else value
