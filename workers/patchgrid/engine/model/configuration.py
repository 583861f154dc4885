"""A model's configuration, and early refusals of models without a decoder that predicts the next token."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from patchgrid.core.errors import ModelError
from patchgrid.engine.checkpoint.files import find_file, read_json, reading
from patchgrid.engine.model.families import FAMILIES

#: Where users find which models can be measured.
PAGE = "docs/models.md"
#: Largest valid number of layers, heads or experts: larger numbers are mistakes, and would fill the memory.
_MOST = 100_000
_COUNT = re.compile(r"(^|_)(n|num)_(\w+_)?(layers?|heads?|experts?|blocks?)$|^depth$|_layers$")
#: What a checkpoint may ask transformers for that would bring in code from elsewhere, or other numbers.
_CHOICES = ("attn_implementation", "experts_implementation")
_WORKS = f"supported: decoder-only models and the text decoders of vision-language models ({PAGE})"


def load_config(name: str, revision: str | None) -> Any:
    """Load the configuration of a model that has a decoder.

    Raises
    ------
    ModelError
        It is absent or broken, or belongs to a model that cannot be measured; the message says what works.
    """
    config = read_config(name, revision)
    check_kind(name, config)
    return config


def read_config(name: str, revision: str | None, *, local_files_only: bool = False) -> Any:
    """Read a configuration, without torch; which code computes attention is not its choice.

    Raises
    ------
    ModelError
        It is absent or broken.
    """
    with reading(name, name):
        path = find_file(name, "config.json", revision, local_files_only=local_files_only)
        if path is None:
            if Path(name).is_dir():
                raise ModelError(f"{name} is not a model: it has no config.json")
            raise ModelError(
                f"cannot find {name}: it has no config.json on the Hugging Face Hub, or the hub cannot be "
                "reached and it is not in the cache; check the name and the network"
            )
        settings = read_json(path)
        _check_type(name, settings)
        _check_counts(name, settings)
        config = AutoConfig.from_pretrained(
            name, revision=revision, local_files_only=local_files_only, trust_remote_code=False
        )
        for choice in _CHOICES:
            setattr(config, f"_{choice}", None)  # recursively, as transformers' own property does
    return config


def is_composite(config: Any) -> bool:
    """Return whether a configuration is of a text decoder beside other parts."""
    return config.get_text_config(decoder=True) is not config or not _is_in("CAUSAL_LM", config.model_type)


def composite_class(config: Any) -> Any:
    """Return transformers' class of a model that has a text decoder beside other parts."""
    for kind in ("MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT", "CAUSAL_LM"):
        classes = _mapping(f"MODEL_FOR_{kind}_MAPPING")
        if type(config) in classes:
            matching = classes[type(config)]
            return matching[0] if isinstance(matching, tuple) else matching
    raise ModelError(f"{config.model_type} is not a language model; {_WORKS}")


def _check_type(name: str, settings: dict[str, Any]) -> None:
    """Refuse a model type that transformers does not know, without its list of hundreds."""
    kind = settings.get("model_type")
    if kind is None:
        raise ModelError(f"{name}/config.json has no model_type; {_WORKS}")
    if kind in CONFIG_MAPPING_NAMES:
        return
    if "auto_map" in settings:
        raise ModelError(
            f"cannot load {name}: model type {kind!r} needs Python code from its repository, "
            f"which patchgrid never runs; {_WORKS}"
        )
    near = difflib.get_close_matches(str(kind), FAMILIES, n=1, cutoff=0.6)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"a transformers newer than {transformers.__version__} may support it."
    )
    raise ModelError(f"cannot load {name}: unknown model type {kind!r}; {hint} See {PAGE}")


def _check_counts(name: str, settings: dict[str, Any]) -> None:
    """Refuse counts that no model has, before transformers makes lists of that length."""
    for key, value in _numbers(settings):
        if _COUNT.search(key) and value > _MOST:
            raise ModelError(
                f"{name}/config.json: {key} is {value:,}, more than any model has ({_MOST:,} at most)"
            )


def _numbers(settings: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Walk through a configuration's numbers, with the names that they have."""
    rest = [settings]
    while rest:
        for key, value in rest.pop().items():
            if isinstance(value, dict):
                rest.append(value)
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                yield key, value


def check_kind(name: str, config: Any) -> None:
    """Refuse what has no decoder that predicts the next token of one text."""
    kind = config.model_type
    text = config.get_text_config(decoder=True)
    if config.is_encoder_decoder or text.is_encoder_decoder:
        raise ModelError(f"{name} is an encoder-decoder model ({kind}), which is not supported; {_WORKS}")
    looks_ahead = getattr(text, "use_bidirectional_attention", None) in (True, "all")
    if looks_ahead and text is not config:
        # PaliGemma attends both ways within a prompt, and causally within an answer: a text is all answer.
        text.use_bidirectional_attention = looks_ahead = False
    if looks_ahead or (_is_in("MASKED_LM", kind) and not getattr(text, "is_decoder", False)):
        raise ModelError(
            f"{name} is an encoder-only model ({kind}): it predicts no next token, "
            f"which every metric needs; {_WORKS}"
        )
    if not any(_is_in(task, kind) for task in ("CAUSAL_LM", "MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT")):
        raise ModelError(f"{name} is not a language model (model type {kind}); {_WORKS}")


def _is_in(task: str, kind: str) -> bool:
    return kind in _mapping(f"MODEL_FOR_{task}_MAPPING_NAMES")


def _mapping(name: str) -> Any:
    from transformers.models.auto import modeling_auto  # it needs torch

    return getattr(modeling_auto, name, {})
