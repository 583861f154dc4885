"""A model that is in memory already: a second tree of its modules, over the same weights.

The engine adds modules of its own to a model and freezes it. It does so to this copy: the user's model keeps
its mode, gradients, attention function and hooks, and no weight is held twice.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import nnsight
import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from patchgrid.core.errors import ArgumentError, ModelError
from patchgrid.engine.checkpoint.adapters import check_adapter_kind
from patchgrid.engine.checkpoint.files import first_line
from patchgrid.engine.model.configuration import check_kind, is_composite
from patchgrid.engine.model.loading import Checkpoint
from patchgrid.engine.model.taps import TAPPED, attention_functions
from patchgrid.engine.model.text_decoder import keep_text_decoder

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
#: Whose hooks only record, or move tensors between devices.
_LIBRARIES = ("transformers.", "accelerate.", "torch.")
_TAKES = "Engine(model, tokenizer) takes a Hugging Face PreTrainedModel or an nnsight model"


def share_model(model: Any, tokenizer: Any, name: str | None) -> Checkpoint:
    """Copy a loaded model's modules, over its own weights, to be measured as one that was read from files.

    Parameters
    ----------
    model
        A Hugging Face `PreTrainedModel`, one with a peft adapter, or an nnsight model of one.
    tokenizer
        Its tokenizer, or a processor that has one; None: an nnsight model's own.
    name
        What to call it; None: what it was loaded by.

    Raises
    ------
    ArgumentError
        No such model, or no tokenizer.
    ModelError
        A model that cannot be measured as loaded; the message says what to do.
    """
    module, own_tokenizer = _unwrapped(model)
    tokenizer = _tokenizer(own_tokenizer if tokenizer is None else tokenizer)
    if not isinstance(module, PreTrainedModel):
        raise ArgumentError(f"{_TAKES}, not {_described(module)}", "model")
    name = name or module.name_or_path or type(module).__name__
    _check_weights(name, module)
    _check_hooks(name, module)
    _check_class(name, module)
    shared = _shared(name, module)
    check_kind(name, shared.config)
    if is_composite(shared.config):
        shared = keep_text_decoder(shared)
    functions = attention_functions(shared) - set(TAPPED)
    if functions:
        raise ModelError(
            f"{name} runs with attn_implementation={functions.pop()!r}, which the engine cannot read "
            "queries, keys and values from: call model.set_attn_implementation('sdpa') first, or load it "
            "with attn_implementation='sdpa' (or 'eager')"
        )
    shared.eval()
    device = shared.get_input_embeddings().weight.device
    return Checkpoint(name, shared, tokenizer, device, _change_check(name, module))


def _unwrapped(model: Any) -> tuple[Any, Any]:
    """Return the module of an nnsight model or of one with an adapter, and the tokenizer with it."""
    tokenizer = None
    if isinstance(model, nnsight.Envoy):
        if model._edits:  # noqa: SLF001 (nnsight has no public name for them)
            raise ModelError(
                "the nnsight model has edits, which the engine would ignore: model.clear_edits()"
            )
        if getattr(model, "dispatched", True) is False:
            model.dispatch()  # as nnsight itself does before the first trace
        tokenizer = model.__dict__.get("tokenizer")
        model = model._module  # noqa: SLF001
    if hasattr(model, "peft_config") and not isinstance(model, PreTrainedModel):
        check_adapter_kind("the model", model.active_peft_config.peft_type.value)
        model = model.get_base_model()
    return model, tokenizer


def _tokenizer(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer, or of a processor's: nnsight sets its padding."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
    if tokenizer is None:
        raise ArgumentError(
            "a loaded model needs its tokenizer: Engine(model, AutoTokenizer.from_pretrained(…))", "tokenizer"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ArgumentError(
            f"tokenizer must be a Hugging Face tokenizer, not {_described(tokenizer)}", "tokenizer"
        )
    return copy.deepcopy(tokenizer)


def _described(value: Any) -> str:
    """Say what was passed, and what to pass in its place where that is known."""
    if isinstance(value, str):
        return f"the text {value!r}: Engine.load({value!r}) loads a model by its name"
    if hasattr(value, "_orig_mod"):
        return "a compiled model: pass the one that went into torch.compile"
    if isinstance(getattr(value, "module", None), PreTrainedModel):
        return f"a {type(value).__name__}: pass its .module"
    if isinstance(getattr(value, "model", None), PreTrainedModel):
        return f"a {type(value).__name__}: pass its .model and .tokenizer"
    return f"a {type(value).__name__}"


def _check_weights(name: str, model: PreTrainedModel) -> None:
    """Refuse weights that are not here, are a part of them, or know no gradients."""
    for weights in (*model.parameters(), *model.buffers()):
        if isinstance(weights, DTensor):
            raise ModelError(
                f"{name} is split over processes (tensor parallel or FSDP): load all of it in this process"
            )
        if weights.is_meta:
            raise ModelError(
                f"{name} has weights that are offloaded or not loaded (device meta): load all of it onto CPU "
                "or GPU, without offloading"
            )
        if weights.is_inference():
            raise ModelError(
                f"{name} was made in torch.inference_mode(), where no gradients exist: load it outside"
            )


def _check_hooks(name: str, model: PreTrainedModel) -> None:
    """Refuse hooks that are not a library's own: nnsight reads an output before a hook changes it."""
    for path, module in model.named_modules():
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values()):  # noqa: SLF001
            if not str(hook.__module__).startswith(_LIBRARIES):
                raise ModelError(
                    f"{name} has a forward hook at {path or 'its root'}: what it changes would not be "
                    "scored. Remove it (handle.remove()) first"
                )


def _check_class(name: str, model: PreTrainedModel) -> None:
    if not (model.can_generate() or model.config.is_encoder_decoder):
        raise ModelError(
            f"{name} is a {type(model).__name__}, which predicts no next token: load it with "
            "AutoModelForCausalLM.from_pretrained(…)"
        )


def _shared(name: str, model: PreTrainedModel) -> Any:
    """Copy the modules and their configuration; weights share memory, and are frozen in the copy alone."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(weights): _frozen(weights) for weights in module.parameters(recurse=False)}
        memo |= {id(buffer): buffer for buffer in module.buffers(recurse=False)}
        # What a hook belongs to is not the model's.
        memo |= {id(hooks): copy.copy(hooks) for hooks in _hooks(module)}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # whatever its modules hold beside weights
        raise ModelError(f"cannot copy the modules of {name}: {first_line(error)}") from error


def _frozen(weights: nn.Parameter) -> nn.Parameter:
    """Return a parameter over the same memory that takes no gradient; quantised ones never do."""
    if type(weights) is not nn.Parameter:
        return weights
    return nn.Parameter(weights.detach(), requires_grad=False)


def _hooks(module: nn.Module) -> Iterator[Any]:
    return (module.__dict__[table] for table in _HOOKS)


def _change_check(name: str, model: PreTrainedModel) -> Callable[[], None]:
    """Return what raises `ModelError` once the weights that the copy shares were written to."""

    def versions() -> list[int]:
        return [weights._version for weights in weights_used]  # noqa: SLF001 (torch's count of writes)

    weights_used: list[torch.Tensor] = list(model.parameters())
    before = versions()

    def check() -> None:
        if versions() != before:
            raise ModelError(
                f"the weights of {name} changed since this engine was made: make another, "
                "Engine(model, tokenizer)"
            )

    return check
