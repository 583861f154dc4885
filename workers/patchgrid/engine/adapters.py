"""Models that are an adapter beside a base model, as peft saves them."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers.utils.peft_utils import find_adapter_config_file

from patchgrid.engine.errors import ModelError

#: What peft calls adapters that add virtual tokens instead of weights.
_ADDING_TOKENS = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's folder or hub id, and the model that it was trained beside."""

    name: str
    #: Hub id or folder of the base model.
    base: str
    base_revision: str | None
    #: As peft calls it: `LORA`, `IA3`, ...
    kind: str


def find_adapter(name: str, revision: str | None) -> Adapter | None:
    """Tell whether a folder or a hub repository holds an adapter, and of what.

    Raises
    ------
    ModelError
        It does and cannot be loaded: peft is not installed, or it is of a kind that cannot be measured.
    """
    config = _config_file(name, revision)
    if config is None:
        return None
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        base, kind = settings["base_model_name_or_path"], str(settings.get("peft_type"))
    except (ValueError, KeyError) as error:
        raise ModelError(f"{config} does not name the base model that the adapter belongs to") from error
    if find_spec("peft") is None:
        raise ModelError(f"{name} is an adapter for {base}: pip install 'patchgrid[peft]' to load it")
    if kind in _ADDING_TOKENS:
        raise ModelError(
            f"{name} is an adapter that adds virtual tokens ({kind}): positions would not be its prompt's. "
            "LoRA and other adapters that change weights can be measured"
        )
    return Adapter(name, str(base), settings.get("revision"), kind)


def put_on(model: Any, adapter: Adapter, revision: str | None, *, quantised: bool) -> Any:
    """Put an adapter on its base model; the model's own modules stay where they are.

    In float32 the adapter is merged into the weights, which is exact to rounding. Weights of fewer bits would
    lose some of it: there it runs beside them.
    """
    from peft import PeftModel

    with_adapter = PeftModel.from_pretrained(model, adapter.name, revision=revision, is_trainable=False)
    if model.dtype == torch.float32 and not quantised:
        return with_adapter.merge_and_unload()
    return with_adapter.get_base_model()


def _config_file(name: str, revision: str | None) -> Path | None:
    """The adapter's configuration, where there is one."""
    folder = Path(name)
    if folder.is_dir():
        path = folder / "adapter_config.json"
        if not path.is_file() or (folder / "config.json").is_file():
            return None
        if not (folder / "adapter_model.safetensors").is_file():
            raise ModelError(f"{name} has no adapter_model.safetensors: save the adapter with safetensors")
        return path
    try:
        found = find_adapter_config_file(name, revision=revision)
    except OSError:  # the hub, or the repository, is not there: loading the model says so
        return None
    return None if found is None else Path(found)
