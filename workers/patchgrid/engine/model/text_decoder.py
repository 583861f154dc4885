"""Loading only the text decoder of a multimodal model."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM


def load_text_decoder(model_class: Any, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Load a model of several parts as `from_pretrained` does, of its weights those that a text reaches.

    A text runs through the whole model's own code, so its logits are the whole model's; the weights of
    towers and projectors have no place to go and are not read.

    Returns
    -------
    The model, and transformers' report of what was loaded.
    """
    model, report = _text_only(model_class).from_pretrained(name, **options)
    return _finished(model), report


def keep_text_decoder(model: Any) -> Any:
    """Take out of a model's modules what a text does not reach, as `load_text_decoder` does not load it.

    Returns
    -------
    The model, or the language model within it.
    """
    _drop_other_parts(model)
    return _finished(model)


def decoder_path(model: Any) -> str:
    """Return the path of the text decoder within a model; empty where the model is it."""
    decoder, embeddings = model.get_decoder(), model.get_input_embeddings()
    if not any(module is embeddings for module in decoder.modules()):
        decoder = model.base_model  # ModernBERT calls its projection to the vocabulary a decoder
    return next(str(path) for path, module in model.named_modules() if module is decoder)


class _Absent(nn.Module):
    """Stands where a part was that no text reaches; some models ask it for its device."""

    device, dtype = torch.device("cpu"), torch.float32


def _text_only(model_class: Any) -> Any:
    """Return a class without the other parts; its name stays, because transformers maps old weights by it."""

    def build(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        model_class.__init__(self, config, *args, **kwargs)
        _drop_other_parts(self)

    return type(
        model_class.__name__, (model_class,), {"__init__": build, "__module__": model_class.__module__}
    )


def _drop_other_parts(model: Any) -> None:
    kept = (model.get_decoder(), model.get_output_embeddings(), model.get_input_embeddings())
    _prune(model, {id(module) for part in kept if part is not None for module in part.modules()})
    for module in model.modules():
        # Blocks that attend to pictures: a text passes them by.
        for layer in getattr(module, "cross_attention_layers", None) or ():
            module.layers._modules[str(layer)] = None  # noqa: SLF001


def _finished(model: Any) -> Any:
    """Close the gaps that were left, and return the language model."""
    for module in model.modules():
        if getattr(module, "cross_attention_layers", None):
            _close_gaps(module)
    return _complete(model)


def _prune(module: nn.Module, needed: set[int]) -> None:
    """Take out the parts that neither are, hold nor belong to what is needed."""
    for name, child in list(module.named_children()):
        if id(child) in needed:
            continue
        if any(id(part) in needed for part in child.modules()):
            _prune(child, needed)
        else:
            setattr(module, name, _Absent())


def _close_gaps(decoder: Any) -> None:
    """Count a decoder's blocks without those that were omitted."""
    decoder.layers = nn.ModuleList(layer for layer in decoder.layers if layer is not None)
    decoder.cross_attention_layers = []
    for place, layer in enumerate(decoder.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place


def _complete(model: Any) -> Any:
    """Return the language model, head and all, within a model whose own code wants a picture."""
    causal_classes = tuple(AutoModelForCausalLM._model_mapping.values())  # noqa: SLF001
    return next(
        (module for module in model.modules() if module is not model and isinstance(module, causal_classes)),
        model,
    )
