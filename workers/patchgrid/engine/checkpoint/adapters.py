"""Adapters of a base model, as saved by peft."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from patchgrid.core.errors import ModelError
from patchgrid.engine.checkpoint.files import find_file, read_json, reading

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

#: peft's names of adapters that add virtual tokens instead of weights.
_ADDING_TOKENS = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's folder or hub id, and the model that it was trained beside."""

    name: str
    #: Where its files are on this machine.
    folder: Path
    #: Hub id or folder of the base model.
    base: str
    base_revision: str | None
    #: As peft calls it: `LORA`, `IA3`, ...
    kind: str


def find_adapter(name: str, revision: str | None) -> Adapter | None:
    """Return the adapter in a folder or hub repository, or None.

    Raises
    ------
    ModelError
        It has an adapter that cannot be loaded: peft is not installed, or its kind is not supported.
    """
    path = _config_file(name, revision)
    if path is None:
        return None
    settings = read_json(path)
    base, kind = settings.get("base_model_name_or_path"), str(settings.get("peft_type"))
    base_revision = settings.get("revision")
    if not isinstance(base, str) or not base or not isinstance(base_revision, str | None):
        raise ModelError(f"{path} does not name the base model that the adapter belongs to")
    if find_spec("peft") is None:
        raise ModelError(f"{name} is an adapter for {base}: pip install 'patchgrid[peft]' to load it")
    check_adapter_kind(name, kind)
    return Adapter(name, path.parent, base, base_revision, kind)


def check_adapter_kind(name: str, kind: str) -> None:
    """Refuse, by `ModelError`, an adapter of a kind that adds tokens to each prompt."""
    if kind in _ADDING_TOKENS:
        raise ModelError(
            f"{name} is an adapter with virtual tokens ({kind}): positions would not be its prompt's. "
            "LoRA and other adapters that change weights can be measured"
        )


def put_on(model: Any, adapter: Adapter, *, quantised: bool) -> Any:
    """Apply an adapter to its base model; the model's modules keep their places.

    In float32 the adapter is merged into the weights, which is exact to rounding. Weights of fewer bits would
    lose some of it: there it runs beside them.
    """
    from peft import PeftModel

    with reading(f"the adapter {adapter.name}", str(adapter.folder)):
        # From its folder, where safetensors are: of a repository, peft would take pickles as well.
        with_adapter = PeftModel.from_pretrained(model, str(adapter.folder), is_trainable=False)
        if model.dtype == torch.float32 and not quantised:
            return with_adapter.merge_and_unload()
        return with_adapter.get_base_model()


def _config_file(name: str, revision: str | None) -> Path | None:
    """The adapter's configuration, where there is one, its weights beside it."""
    try:
        path = find_file(name, _CONFIG, revision)
        if path is None:
            return None
        weights = find_file(name, _WEIGHTS, revision)
    except OSError:  # the hub, or the repository, is not there: loading the model says so
        return None
    if weights is None:
        raise ModelError(
            f"{name} is an adapter without {_WEIGHTS}: pickles (.bin) can run code when read; "
            "save it as safetensors with model.save_pretrained(folder)"
        )
    return None if Path(name).is_dir() and (path.parent / "config.json").is_file() else path
