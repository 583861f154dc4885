"""Opening a model: loading it, finding its parts, and checking it unless the findings are cached."""

from collections.abc import Callable
from typing import Any

from patchgrid.engine.checkpoint.provenance import (
    ModelProvenance,
    memory_provenance,
    model_provenance,
)
from patchgrid.engine.checkpoint.quiet import quietly
from patchgrid.engine.checks.findings import (
    Findings,
    findings_key,
    remember_findings,
    remembered_findings,
)
from patchgrid.engine.model.in_memory import share_model
from patchgrid.engine.model.loading import (
    SHARDED,
    LoadedModel,
    load_checkpoint,
    read_model,
)


def open_model(
    name: str,
    *,
    revision: str | None,
    device: str,
    dtype: str,
    recheck: bool,
    on_check: Callable[[str], None],
) -> tuple[LoadedModel, ModelProvenance, Findings]:
    """Load a model, and say where its numbers come from and what its checks found; see `Engine.load`."""
    with quietly():
        checkpoint = load_checkpoint(name, revision=revision, device=device, dtype=dtype)
        provenance = model_provenance(name, checkpoint.model, checkpoint.device, revision)
        key = findings_key(provenance, sharded=device == SHARDED)
        cached = None if recheck else remembered_findings(key)
        if cached is not None:
            return read_model(checkpoint, cached.wiring), provenance, cached
        on_check(f"Checking {name}")
        model = read_model(checkpoint)
        findings = Findings.of(model)
        remember_findings(key, findings)
        return model, provenance, findings


def open_in_memory(
    model: Any, tokenizer: Any, name: str | None
) -> tuple[LoadedModel, Callable[[], ModelProvenance], Findings]:
    """Find the parts of a model that is in memory, and check it: nothing is cached of what no file holds.

    Its provenance is made when asked for: hashing all weights takes a second for each half gigabyte.
    """
    with quietly():
        checkpoint = share_model(model, tokenizer, name)
        opened = read_model(checkpoint)

        def provenance() -> ModelProvenance:
            checkpoint.check_unchanged()
            return memory_provenance(checkpoint.name, checkpoint.model, checkpoint.device)

        return opened, provenance, Findings.of(opened)
