"""Loading a Hugging Face model: safetensors only, no code from the hub, weights frozen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from nnsight import TransformersModel
from transformers import AutoModelForCausalLM
from transformers.utils import is_accelerate_available

from patchgrid.core import names
from patchgrid.core.errors import ModelError, SpecError
from patchgrid.engine.checkpoint.adapters import Adapter, find_adapter, put_on
from patchgrid.engine.checkpoint.files import INDEX, check_index, load_tokenizer, reading
from patchgrid.engine.checkpoint.quantised import quantisation
from patchgrid.engine.model.configuration import (
    composite_class,
    is_composite,
    load_config,
)
from patchgrid.engine.model.families import has_part
from patchgrid.engine.model.head import Head, LogitTransform
from patchgrid.engine.model.kv_cache import PrefixCache
from patchgrid.engine.model.layout import Layout, inner_projections, read_layout
from patchgrid.engine.model.pulse import Pulse
from patchgrid.engine.model.shortcuts import Shortcuts
from patchgrid.engine.model.structure import find_family
from patchgrid.engine.model.tail import float32_copies, tail_paths
from patchgrid.engine.model.taps import Heads, install, put_in
from patchgrid.engine.model.text_decoder import load_text_decoder
from patchgrid.engine.tokenization.tokens import TokenTexts

#: The device that stands for all GPUs that the process sees, a part of the model's layers on each.
SHARDED = "sharded"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is found by running a model before its parts can be read."""

    #: What the taps on attention show; None: they show nothing.
    heads: Heads | None
    #: Paths of the modules between the last block and the head; None: a float32 model needs none of them.
    tail: tuple[str, ...] | None
    #: Names of the projections within an attention module that queries, keys and values are made with.
    inner: tuple[str, ...]

    def fits(self, model: Any, attentions: Sequence[torch.nn.Module]) -> bool:
        """Tell whether all that is named here is there."""
        within = all(has_part(attention, name) for attention in attentions for name in self.inner)
        return within and all(has_part(model, path) for path in self.tail or ())


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be measured."""

    #: The id or folder it was asked for by.
    name: str
    #: The model wrapped by nnsight.
    envoy: Any
    tokenizer: Any
    layout: Layout
    device: torch.device
    dtype: torch.dtype
    #: Number of token ids the model knows.
    vocabulary: int
    wiring: Wiring
    #: The projection to the vocabulary; None where the model names none.
    head: Head | None
    #: nnsight handles of the modules between the last block and the head, in the order in which they run,
    #: each with the float32 copy that runs in its place; None: the model is a float32 one.
    tail: tuple[tuple[Any, torch.nn.Module], ...] | None
    #: What the model does to its logits behind the head; None: not known.
    transform: LogitTransform | None = None
    #: What is taken to compute less.
    shortcuts: Shortcuts = field(default_factory=Shortcuts.none)
    #: What the last batch's prompts began with.
    prefix_cache: PrefixCache = field(default_factory=PrefixCache)
    #: Raises `ModelError` where the weights are no longer those that were checked.
    check_unchanged: Callable[[], None] = lambda: None
    #: Beats with each pass through the model.
    pulse: Pulse = field(default_factory=Pulse)
    #: What methods found out about the model, each by its name.
    found: dict[str, object] = field(default_factory=dict)

    @cached_property
    def texts(self) -> TokenTexts:
        """Each token's text."""
        return TokenTexts(self.tokenizer)

    @cached_property
    def cache_name(self) -> str:
        """What the model calls its cache of keys and values: transformers 5.24 gave it a new name."""
        parameters = signature(type(self.envoy._module).forward).parameters  # noqa: SLF001
        return "cache" if "cache" in parameters else "past_key_values"

    @property
    def pad(self) -> int:
        """A token id to fill padding with."""
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None and 0 <= pad < self.vocabulary else 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model as transformers loads it, on its device, and its tokenizer."""

    #: The id or folder it was asked for by.
    name: str
    model: Any
    tokenizer: Any
    device: torch.device
    #: Raises `ModelError` where the weights are no longer those that were read.
    check_unchanged: Callable[[], None] = lambda: None


def load_checkpoint(name: str, *, revision: str | None, device: str, dtype: str) -> Checkpoint:
    """Load weights and tokenizer from the hub or a local folder.

    Raises
    ------
    ModelError
        The folder or repository lacks something.
    SpecError
        The device or number type does not exist.
    """
    names.check_name("dtype", dtype, names.DTYPES, "dtype")
    if revision is not None and revision.startswith(names.IN_MEMORY):
        raise ModelError(
            f"{name} was measured from a model in memory ({revision}), which only its own process has: "
            "run it again there"
        )
    where = pick_device(device)
    adapter = find_adapter(name, revision)
    weights, weights_revision = (name, revision) if adapter is None else (adapter.base, adapter.base_revision)
    _check_folder(weights, tokenizer=adapter is None or not _has_tokenizer(Path(name)))
    config = load_config(weights, weights_revision)
    tokenizer = load_tokenizer(*_tokenizer_of(adapter, weights, weights_revision, name, revision))
    method = quantisation(weights, config)
    spread = "balanced" if device == SHARDED else None if method is None else {"": where}
    model = _load_weights(weights, weights_revision, config, dtype, spread)
    if adapter is not None:
        model = put_on(model, adapter, quantised=method is not None)
    model.eval()
    model.requires_grad_(requires_grad=False)
    if spread is None:
        model.to(where)
    return Checkpoint(name, model, tokenizer, where)


def read_model(checkpoint: Checkpoint, wiring: Wiring | None = None) -> LoadedModel:
    """Find a loaded model's parts; `wiring` is what an earlier load of the same model found by running it.

    Raises
    ------
    ModelError
        The architecture is not understood.
    """
    model = checkpoint.model
    family = find_family(model)
    blocks = model.get_submodule(family.layers)
    attentions = [block.get_submodule(family.attention) for block in blocks]
    head = model.get_output_embeddings()
    if wiring is None or not wiring.fits(model, attentions):
        tail = tail_paths(model, blocks[-1], head)
        projections = [block.get_submodule(family.projection) for block in blocks]
        heads = install(model, attentions, projections)
        wiring = Wiring(heads, tail, () if heads is None else inner_projections(model, family))
    elif wiring.heads is not None:
        put_in(model, attentions)
    envoy = TransformersModel(model, tokenizer=checkpoint.tokenizer, task="text-generation")
    layout = read_layout(envoy, model, family, wiring.heads, wiring.inner)
    copies = None if wiring.tail is None else float32_copies(model, wiring.tail).items()
    return LoadedModel(
        checkpoint.name,
        envoy,
        checkpoint.tokenizer,
        layout,
        checkpoint.device,
        model.dtype,
        vocabulary=model.get_input_embeddings().num_embeddings,
        wiring=wiring,
        head=None if layout.head is None else Head.of(head),
        tail=None if copies is None else tuple((envoy.get(path), copy) for path, copy in copies),
        check_unchanged=checkpoint.check_unchanged,
    )


def pick_device(device: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that is there; `sharded`: the first one."""
    if device == SHARDED and not is_accelerate_available():
        raise SpecError("device sharded needs accelerate: pip install 'patchgrid[sharded]'")
    if device in ("auto", SHARDED):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        where = torch.device(device)
        torch.empty(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SpecError(f"device {device!r} is not available: {reason}") from error
    return where


def _check_folder(name: str, *, tokenizer: bool = True) -> None:
    """Refuse a local folder that cannot be loaded, naming what it lacks."""
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")):
            raise ModelError(f"no model folder at {name}")
        return
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} is not a model folder: it has no config.json")
    if tokenizer and not _has_tokenizer(folder):
        raise ModelError(f"{name} has no tokenizer: put the model's tokenizer.json beside its weights")
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.glob("*.bin")) + sorted(
            path.name for path in folder.glob("*.pt")
        )
        if pickles:
            raise ModelError(
                f"{name} has pickle weights only ({pickles[0]}), which can run code when read: "
                "convert them to safetensors with model.save_pretrained(folder)"
            )
        raise ModelError(f"{name} has no weights: no *.safetensors file in it")


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in _TOKENIZER_FILES)


def _tokenizer_of(
    adapter: Adapter | None, base: str, base_revision: str | None, name: str, revision: str | None
) -> tuple[str, str | None]:
    """Where the tokenizer is: beside an adapter if it has one, else beside the weights."""
    beside = adapter is not None and _has_tokenizer(Path(name))
    return (name, revision) if beside else (base, base_revision)


def _load_weights(name: str, revision: str | None, config: Any, dtype: str, spread: Any) -> Any:
    """Load the weights, in safetensors alone; of a model with other parts, those of its text decoder."""
    options = {
        "config": config,
        "revision": revision,
        "dtype": "auto" if dtype == "auto" else getattr(torch, dtype),
        "use_safetensors": True,
        "trust_remote_code": False,
        "output_loading_info": True,
        "device_map": spread,
        # transformers' own choice among its own functions, whatever a file asks for
        "attn_implementation": None,
        "experts_implementation": None,
    }
    with reading(name, name):
        _check_weights_file(name, revision, config)
        if is_composite(config):
            model, info = load_text_decoder(composite_class(config), name, **options)
        else:
            model, info = AutoModelForCausalLM.from_pretrained(name, **options)
    absent = sorted(info["missing_keys"])
    if absent:
        raise ModelError(f"{name} lacks {len(absent)} of the model's weights, such as {absent[0]}")
    return model


def _check_weights_file(name: str, revision: str | None, config: Any) -> None:
    """Refuse weights under another name that are, or lead to, anything but safetensors."""
    file = getattr(config, "transformers_weights", None)
    if file is not None and not str(file).endswith((".safetensors", ".safetensors.index.json")):
        raise ModelError(f"{name}/config.json names {file!r} as its weights, which is not a safetensors file")
    for index in (INDEX, file if str(file).endswith(".json") else None):
        if index is not None:
            check_index(name, index, revision)
