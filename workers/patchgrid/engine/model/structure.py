"""Finding a model's family: by its type, or by running it and checking which parts add up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from patchgrid.core.errors import ModelError
from patchgrid.engine.model.configuration import PAGE
from patchgrid.engine.model.families import FAMILIES, Family, has_part, missing_part
from patchgrid.engine.model.text_decoder import decoder_path

#: Largest error of a sum of parts, as a share of the stream's largest value, in roundings of the number type.
_ROUNDINGS = 64
#: Model types that would be taken for something that they are not, with the reason why they are refused.
REFUSED = {
    "diffllama": "a head's output is the difference of two attentions over pairs of heads, not a slice of z",
    "jetmoe": "attention is a mixture of experts: no output projection reads all heads side by side",
    "gpt_neox_japanese": "the last block's attention adds a bias of its own, which no module gives",
}


def find_family(model: Any) -> Family:
    """Return the record of a Hugging Face model: by its text decoder's type, else by its structure.

    A model type without a record is run on a few tokens, and the parts of its first block are searched for
    two that add up to what it gives. The self-check decides about all blocks.

    Raises
    ------
    ModelError
        No record fits; the message names what was not found.
    """
    model_type = text_type(model)
    if reason := REFUSED.get(model_type):
        raise ModelError(f"{model_type} models are not supported: {reason}. See {PAGE}")
    family = FAMILIES.get(model_type)
    if family is None:
        return _search(model)
    family = _within(model, family)
    missing = missing_part(model, family)
    if missing is not None:
        raise ModelError(
            f"this {model_type} model has no {missing}: its code differs from the supported version"
        )
    return family


def text_type(model: Any) -> str:
    """Return the type of a model's text decoder: the model's own, where that is all of it."""
    return str(model.config.get_text_config(decoder=True).model_type)


def _within(model: Any, family: Family) -> Family:
    """Say where a record's blocks are in a model that holds the record's model as its text decoder."""
    if has_part(model, family.layers):
        return family
    decoder, names = decoder_path(model), family.layers.split(".")
    paths = [".".join([decoder, *names[start:]]) for start in range(len(names))]
    layers = next((path for path in paths if has_part(model, path)), family.layers)
    return replace(family, layers=layers)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one module of a block took and gave, in a run of one prompt."""

    path: str
    module: Any
    #: None where it took no tensor.
    input: Tensor | None
    output: Tensor
    #: How many values it gave, 1 for a tensor alone.
    outputs: int


def _search(model: Any) -> Family:
    """Find the parts of a model by running it."""
    unknown = f"model type {text_type(model)!r} is unknown"
    layers, blocks = _list_of_blocks(model)
    if layers is None:
        raise ModelError(
            f"{unknown}, and it has no list of blocks that contain attention{_without(model)}. See {PAGE}"
        )
    parts = _record(model, blocks[0])
    family = _read(layers, parts, float(torch.finfo(model.dtype).eps))
    if family is None:
        raise ModelError(
            f"{unknown}, and the input of {layers}[0] plus the outputs of its attention and MLP parts do not "
            f"add up to its output: the block adds, multiplies or norms something else. See {PAGE}"
        )
    return family


def _list_of_blocks(model: Any) -> tuple[str | None, Any]:
    """Find the longest list of modules each of which has a child that names itself attention."""
    longest: tuple[str | None, Any] = (None, ())
    for path, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) <= len(longest[1]):
            continue
        if all(_attention_paths(block) for block in module):
            longest = path, module
    return longest


def _without(model: Any) -> str:
    """Name the first block of the longest list that lacks attention."""
    lists = [(path, each) for path, each in model.named_modules() if isinstance(each, torch.nn.ModuleList)]
    if not lists:
        return ""
    path, blocks = max(lists, key=lambda listed: len(listed[1]))
    bare = next(number for number, block in enumerate(blocks) if not _attention_paths(block))
    children = ", ".join(type(child).__name__ for child in blocks[bare].children())
    return f" (block {bare} of {path} has none: {children or type(blocks[bare]).__name__})"


def _attention_paths(block: Any) -> list[str]:
    named = ((path, type(module).__name__.lower()) for path, module in block.named_modules() if path)
    return [
        path for path, name in named if "attention" in name and "norm" not in name and "linear" not in name
    ]


def _record(model: Any, block: Any) -> list[_Part]:
    """Run a prompt of a few tokens; what the block and its modules gave, in order, the block last."""
    parts: list[_Part] = []
    device = model.get_input_embeddings().weight.device
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = torch.arange(1, 6, device=device)[None] % vocabulary
    with _recording(block, parts), torch.no_grad():
        model(input_ids=ids, use_cache=False)
    return parts


@contextmanager
def _recording(block: Any, parts: list[_Part]) -> Iterator[None]:
    def note(path: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            taken = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            if isinstance(tensor, Tensor):
                size = len(output) if isinstance(output, tuple) else 1
                first = taken[0].clone() if taken else None
                parts.append(_Part(path, module, first, tensor.clone(), size))

        return hook

    handles = [
        module.register_forward_hook(note(path), with_kwargs=True) for path, module in block.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _read(layers: str, parts: list[_Part], eps: float) -> Family | None:
    """Find the two parts that add up with the block's input, and what leads to the first of them."""
    block = parts[-1]
    if block.path or block.input is None:
        return None
    stream, shape = block.input, block.output.shape
    allowed = _ROUNDINGS * eps * float(block.output.abs().max())
    wide = [part for part in parts[:-1] if part.output.numel() == block.output.numel()]
    for first, attention in enumerate(wide):
        for mlp in wide[first + 1 :]:
            total = stream + attention.output.reshape(shape) + mlp.output.reshape(shape)
            if float((total - block.output).abs().max()) > allowed:
                continue
            if family := _lead(layers, parts, attention, mlp, allowed):
                return family
    return None


def _lead(layers: str, parts: list[_Part], attention: _Part, mlp: _Part, allowed: float) -> Family | None:
    """Make the record of two parts that add up, if a projection leads to the first of them."""
    block = parts[-1]
    before = parts[: parts.index(attention) + 1]
    projections = [part for part in before if getattr(part.module, "weight", None) is not None]
    projections = [part for part in projections if part.module.weight.ndim == 2]
    if not projections or projections[-1].input is None or "." not in projections[-1].path:
        return None
    projection = projections[-1]
    with torch.no_grad():
        projected = projection.module(projection.input)
        leads: tuple[str, ...] = (projection.path,)
        if float((projected - attention.output).abs().max()) > allowed:
            leads, projected = (*leads, attention.path), attention.module(projected)
            if float((projected - attention.output).abs().max()) > allowed:
                return None
    owner = projection.path.rpartition(".")[0]
    within = [part.path for part in parts if part.path == owner and _equal(part, attention)]
    assert block.input is not None, "checked before"
    middle = block.input + attention.output.reshape(block.input.shape)
    serial = any(part.input is not None and _close(part.input, middle, allowed) for part in parts[:-1])
    return Family(
        layers=layers,
        projection=projection.path,
        attn_out=within[0] if within else attention.path,
        mlp_out=_outermost(parts, mlp),
        mlp=_reader(parts, mlp),
        parallel=not serial,
        leading=leads,
        outputs=block.outputs,
    )


def _equal(part: _Part, other: _Part) -> bool:
    return part.output.numel() == other.output.numel() and bool(
        (part.output.flatten() == other.output.flatten()).all()
    )


def _close(left: Tensor, right: Tensor, allowed: float) -> bool:
    return left.numel() == right.numel() and float((left.flatten() - right.flatten()).abs().max()) <= allowed


def _outermost(parts: list[_Part], part: _Part) -> str:
    """The shortest path whose module gave the same."""
    same = [other.path for other in parts[:-1] if _equal(other, part)]
    return min(same, key=lambda path: path.count("."))


def _reader(parts: list[_Part], mlp: _Part) -> str | None:
    """The block's child that holds the MLP, or that a norm which gives `mlp` follows."""
    before = parts[: parts.index(mlp) + 1]
    children = [part for part in before if "." not in part.path and any(part.module.children())]
    holding = [part for part in parts[:-1] if part.path == mlp.path.partition(".")[0]]
    reader = (holding if "." in mlp.path else children)[-1:]
    if not reader or reader[0].input is None or reader[0].input.ndim != 3:
        return None
    return None if "attention" in type(reader[0].module).__name__.lower() else reader[0].path
