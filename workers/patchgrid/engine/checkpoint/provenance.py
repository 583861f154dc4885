"""Provenance: model, revision, hashes of configuration and weights, versions, device."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers.utils import cached_file

from patchgrid.core.names import IN_MEMORY
from patchgrid.engine.checkpoint.adapters import find_adapter
from patchgrid.engine.checkpoint.weights import weights_hash

_PACKAGES = ("patchgrid", "torch", "transformers", "nnsight")


@dataclass(frozen=True, slots=True)
class ModelProvenance:
    """Where a model's numbers come from."""

    #: Hub id or local folder.
    model: str
    #: The commit that was loaded from the hub, or None for a local folder; of a model that was in memory
    #: already, `in-memory-` with the first 12 digits of the weights' hash.
    revision: str | None
    #: SHA-256 of the configuration, as canonical JSON.
    config_hash: str
    #: SHA-256 over the names and hashes of the safetensors files; of a model in memory, over its tensors.
    weights_hash: str
    #: Package to version.
    versions: dict[str, str]
    #: Number type the model ran in.
    dtype: str
    #: Device it ran on, with the GPU's name.
    device: str


def model_provenance(name: str, model: Any, device: torch.device, revision: str | None) -> ModelProvenance:
    """Describe a loaded Hugging Face model."""
    more = {}
    if (adapter := find_adapter(name, revision)) is not None:
        more["adapted"] = weights_hash(weight_files(adapter.base, adapter.base_revision))
    commit = getattr(model.config, "_commit_hash", None)
    return _provenance(name, commit, weights_hash(weight_files(name, revision)), model, device, more)


def memory_provenance(name: str, model: Any, device: torch.device) -> ModelProvenance:
    """Describe a Hugging Face model that was not loaded by us: its weights may be nobody's files."""
    weights = _tensors_hash(model)
    return _provenance(name, f"{IN_MEMORY}{weights[:12]}", weights, model, device, {})


def _provenance(
    name: str,
    revision: str | None,
    weights: str,
    model: Any,
    device: torch.device,
    more: dict[str, str],
) -> ModelProvenance:
    config = {key: value for key, value in model.config.to_dict().items() if not key.startswith("_")} | more
    config.pop("transformers_version", None)
    text = json.dumps(config, sort_keys=True, default=str)
    return ModelProvenance(
        model=name,
        revision=revision,
        config_hash=hashlib.sha256(text.encode()).hexdigest(),
        weights_hash=weights,
        versions={package: version(package) for package in _PACKAGES},
        dtype=str(model.dtype).removeprefix("torch."),
        device=_device_name(device),
    )


def _tensors_hash(model: Any) -> str:
    """SHA-256 over the names, number types, shapes and contents of a model's weights, each once."""
    total = hashlib.sha256()
    for name, weights in model.named_parameters():
        total.update(f"{name}:{weights.dtype}:{tuple(weights.shape)}\n".encode())
        # A flat view of bytes; numpy knows no bfloat16.
        total.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def weight_files(name: str, revision: str | None) -> list[Path]:
    """The safetensors files of a local folder or of a hub model already in the cache."""
    if Path(name).is_dir():
        return sorted(Path(name).glob("*.safetensors"))
    adapter = find_adapter(name, revision)
    file = "config.json" if adapter is None else "adapter_config.json"
    config = cached_file(name, file, revision=revision, local_files_only=True)
    return sorted(Path(str(config)).parent.glob("*.safetensors"))


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
