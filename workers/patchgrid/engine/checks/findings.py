"""Findings of running a model at load, cached for the next load."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from patchgrid import core
from patchgrid.engine.checkpoint.disk_cache import recall, remember
from patchgrid.engine.checkpoint.provenance import ModelProvenance
from patchgrid.engine.checks.probe import find_shortcuts, find_transform
from patchgrid.engine.checks.self_check import SelfCheck, check_parts
from patchgrid.engine.checks.softmax_check import what_is_missing
from patchgrid.engine.model.head import LogitTransform
from patchgrid.engine.model.loading import LoadedModel, Wiring
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.model.taps import Heads

_KIND = "checks"


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings that depend only on the model, the code and the device."""

    wiring: Wiring
    #: What the model does to its logits behind the head; None: not known.
    transform: LogitTransform | None
    self_check: SelfCheck
    shortcuts: Shortcuts
    #: Why attention's softmax cannot be recomputed; None: it can.
    no_softmax: str | None

    @classmethod
    def of(cls, model: LoadedModel, shortcuts: Shortcuts | None = None) -> "Findings":
        """Check a model and try what it allows; with given shortcuts, these are taken.

        Raises
        ------
        ModelError
            The model is not supported.
        """
        checked = check_parts(model)
        if shortcuts is None:
            model = replace(model, transform=find_transform(model))
            shortcuts = find_shortcuts(model)
        return cls(model.wiring, model.transform, checked, shortcuts, what_is_missing(model))


def findings_key(provenance: ModelProvenance, *, sharded: bool) -> dict[str, Any]:
    """Return the cache key: model, versions, our code, device and number type."""
    return {
        "weights": provenance.weights_hash,
        "config": provenance.config_hash,
        "versions": dict(provenance.versions),
        "code": _own_code(),
        "device": provenance.device,
        "sharded": sharded,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "dtype": provenance.dtype,
    }


@cache
def _own_code() -> str:
    """Hash our own source: an installation from a working tree changes without its version."""
    total = hashlib.sha256()
    for folder in (Path(core.__file__).parent, Path(__file__).parents[1]):
        for path in sorted(folder.rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()


def remembered_findings(key: Mapping[str, Any]) -> Findings | None:
    """Return the cached findings, or None if there are no valid ones."""
    value = recall(_KIND, key)
    try:
        return _read(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def remember_findings(key: Mapping[str, Any], findings: Findings) -> None:
    """Remember findings for the next load."""
    remember(_KIND, key, asdict(findings))


def _read(value: Any) -> Findings:
    """Make findings of JSON; raises what comes of a value that is not as `remember_findings` leaves it."""
    heads, tail, transform = value["wiring"]["heads"], value["wiring"]["tail"], value["transform"]
    error, allowed = (_number(value["self_check"][name]) for name in ("error", "allowed"))
    if not 0 <= error <= allowed < 1:
        raise ValueError("a self-check that did not pass")
    flags = {field.name: _flag(value["shortcuts"][field.name]) for field in fields(Shortcuts)}
    return Findings(
        Wiring(
            heads and Heads(_count(heads["queries"]), _count(heads["key_values"]), sole=_flag(heads["sole"])),
            None if tail is None else tuple(_text(path) for path in tail),
            tuple(_text(name) for name in value["wiring"]["inner"]),
        ),
        transform and LogitTransform(_number(transform["factor"]), _number(transform["cap"], optional=True)),
        SelfCheck(error, allowed),
        Shortcuts(**flags),
        None if value["no_softmax"] is None else _text(value["no_softmax"]),
    )


def _number(value: Any, *, optional: bool = False) -> Any:
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("not a number")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise TypeError("not a count")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a truth value")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
