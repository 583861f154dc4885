"""One forward pass through nnsight, with the activations that were asked for."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import nnsight
import torch
from torch import Tensor
from transformers import DynamicCache

from patchgrid.core.sites import SITES
from patchgrid.engine.model.kv_cache import KVCache
from patchgrid.engine.model.layout import Block
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.model.tail import through
from patchgrid.engine.model.taps import TAPS, AttentionCall, recorded_calls
from patchgrid.engine.runs.rows import Rows
from patchgrid.engine.sites import access
from patchgrid.engine.sites.attention import modules


@dataclass(slots=True)
class Activations:
    """What one run computed, from one position of the batch on (`RunOptions.keep_from`) to the last.

    Where the last block worked for the last position only, that is all there is of its z, attn_out and
    mlp_out, and all that is right in its output.
    """

    #: float32 `[row, d_model]`: what enters the head at the last position; without that shortcut, logits
    #: `[row, vocabulary]`.
    last: Tensor
    #: Keys and values of the whole rows, None where not asked for.
    kv_cache: KVCache | None = None
    #: `[row, position, d_model]`: each block's input, then the last block's output (n_layers + 1).
    stream: list[Tensor] = field(default_factory=list)
    #: `[row, position, head * head_dim]` a layer, empty where not asked for.
    z: list[Tensor] = field(default_factory=list)
    #: `[row, position, d_model]` a layer, empty where not asked for.
    attn_out: list[Tensor] = field(default_factory=list)
    #: `[row, position, d_model]` a layer, empty where not asked for.
    mlp_out: list[Tensor] = field(default_factory=list)
    #: `[row, position, index]` a layer, with a graph as the MLP has it; empty where not asked for.
    mlp_post: list[Tensor] = field(default_factory=list)
    #: `[row, head, position, head_dim]` a layer, empty where not asked for; with a graph, or with
    #: `attention_calls`, of all positions, those of the cache before the run's own.
    q: list[Tensor] = field(default_factory=list)
    k: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)
    #: Each layer's call of its attention function; empty where not asked for.
    attention_calls: Mapping[int, AttentionCall] = field(default_factory=dict)
    #: With a graph: `[row, position, width]` a layer, what the projections to queries, keys and values read.
    inner_input: list[Tensor] = field(default_factory=list)
    #: `[row, position, width]`, what each of them gives, one layer's after the other.
    inner_outputs: list[Tensor] = field(default_factory=list)

    def at(self, site: str, layer: int) -> Tensor:
        """The activation of a site, `[row, position, width]`; with an index, width is index * dim."""
        return access(site).at(self, layer)

    def detached(self) -> "Activations":
        """Return the same numbers without their graph."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = [tensor.detach() for tensor in value]
        return Activations(**values | {"last": self.last.detach()})


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one run computes and keeps."""

    #: Parts that are kept, beside the stream.
    parts: frozenset[str]
    #: Record the graph, from the first block's input on, for a backward pass.
    grad: bool = False
    #: Position at which the run starts; what lies before comes from `cache`.
    start: int = 0
    #: Keys and values of the positions before `start`; filled by the run where it keeps any.
    cache: DynamicCache | None = None
    #: First position whose activations are kept.
    keep_from: int = 0
    #: `[row, position, d_model]` from `start` on, what enters the first block; None: the embedded tokens.
    stream: Tensor | None = None
    #: Called inside the trace beside what reads it, before it where both meet: it changes how gradients flow.
    rules: Callable[[], None] | None = None


def parts_for(sites: Collection[str]) -> frozenset[str]:
    """Name the parts that scoring or patching these sites needs."""
    return frozenset(part for site in sites for part in SITES[site].parts)


def run(model: LoadedModel, rows: Rows, options: RunOptions) -> Activations:
    """Run rows of tokens and keep the stream and the named parts."""
    kept = Activations(torch.empty(0))
    inputs = model_inputs(model, rows, options.start, options.cache)
    attentions = modules(model.layout) if "attention_calls" in options.parts else ()
    with torch.set_grad_enabled(options.grad), recorded_calls(attentions) as kept.attention_calls:
        if options.rules is None:
            with model.envoy.trace(**inputs):
                _read(model, options, kept)
        else:
            with model.envoy.trace() as tracer:
                with tracer.invoke(**inputs):
                    options.rules()
                with tracer.invoke():
                    _read(model, options, kept)
    if options.cache is not None:
        kept.kv_cache = KVCache.of(options.cache)
    model.pulse.beat()
    return kept


def _read(model: LoadedModel, options: RunOptions, kept: Activations) -> None:
    """Inside a trace, keep what was asked for."""
    blocks = model.layout.blocks
    skip = options.keep_from - options.start
    if options.stream is not None:
        blocks[0].layer.input = options.stream
    first: Any = blocks[0].layer.input if options.stream is None else options.stream
    if options.grad:
        first.requires_grad_()
    kept.stream.append(_tail(first, skip))
    for block in blocks:
        only_last = model.shortcuts.last_block and block is blocks[-1]
        _keep_block(kept, block, options, skip, first.shape, only_last=only_last)
    kept.last = read_last(model)


def model_inputs(model: LoadedModel, rows: Rows, start: int, cache: DynamicCache | None) -> dict[str, Any]:
    """Keyword arguments of a forward pass over rows, from one position on."""
    inputs = {
        "input_ids": rows.tokens[:, start:],
        "attention_mask": rows.attention_mask,
        "position_ids": rows.position_ids[:, start:],
        "use_cache": cache is not None,
        "logits_to_keep": 1,
    }
    return inputs if cache is None else inputs | {model.cache_name: cache}


def read_last(model: LoadedModel) -> Tensor:
    """Inside a trace, read what `Activations.last` is; the head is not run if it need not be."""
    last: Tensor
    if model.tail is not None:
        _leave_in_float32(model)
    if model.shortcuts.head:
        entering = model.layout.head.input
        model.layout.head.skip(entering)
        last = nnsight.save(entering[:, -1])
    else:
        if model.tail is not None and model.head is not None:
            # What the model does to its logits behind the head, it then does in float32, too.
            model.layout.head.skip(model.head.all(model.layout.head.input[:, -1:]))
        last = nnsight.save(model.envoy.output.logits[:, -1].float())
    return last


def _leave_in_float32(model: LoadedModel) -> None:
    """Inside a trace, take the last position from the last block to the head in float32.

    It stands at every position: models expect as many as they were given.
    """
    block = model.layout.blocks[-1]
    stream = first_output(block.layer.output)
    block.layer.output = block.gives(stream[:, -1:].float().expand(stream.shape))
    for module, copy in model.tail or ():
        module.skip(through(copy, module.input))


def work_for_last_only(block: Block) -> Tensor:
    """Inside a trace, have the last block work for the last position only, from its `z` on; give that z.

    What is added to the stream is then one position wide, and is added to every position: wrong for all
    but the last, which is the only one that anything reads.
    """
    z: Tensor = block.projection.input[:, -1:]
    block.projection.input = z
    return z


def _keep_block(
    kept: Activations,
    block: Block,
    options: RunOptions,
    skip: int,
    shape: torch.Size,
    *,
    only_last: bool,
) -> None:
    """Read one block's parts in the order in which the forward pass reaches them."""
    parts = options.parts
    _keep_inner(kept, block, options, shape[1] - skip)
    if only_last:
        skip = 0
        shape = torch.Size((shape[0], 1, shape[2]))
        z = work_for_last_only(block)
    elif "z" in parts:
        z = block.projection.input
    if "z" in parts:
        kept.z.append(_tail(z, skip))
    if "attn_out" in parts:
        kept.attn_out.append(_tail(_attn_out(block, options), skip))
    if only_last:
        block.mlp.input = block.mlp.input[:, -1:]
    if "mlp_post" in parts:
        neurons = block.neurons.input
        kept.mlp_post.append(neurons if options.grad else _tail(neurons.view(*shape[:2], -1), skip))
    if "mlp_out" in parts:
        kept.mlp_out.append(_tail(added_by_mlp(block, shape), skip))
    # A graph needs the very tensor that the model continues with.
    stream = first_output(block.layer.output)
    kept.stream.append(stream[:, -1:].contiguous() if only_last and not options.grad else _tail(stream, skip))


def _attn_out(block: Block, options: RunOptions) -> Tensor:
    """Inside a trace, read what attention adds; in a graph, what follows has its gradient through it."""
    output = block.attn_out.output
    output_tensor = first_output(output)
    if block.scale == 1:
        return output_tensor
    added = output_tensor * block.scale
    if options.grad:
        through: Tensor = _Through.apply(added, output_tensor.detach(), block.scale)  # type: ignore[no-untyped-call]
        block.attn_out.output = (through, *output[1:]) if isinstance(output, tuple) else through
    return added


def added_by_mlp(block: Block, shape: torch.Size) -> Tensor:
    """Inside a trace, read what the MLP adds; of its gradient, the stream's takes the place."""
    # OPT's MLP sees the batch flattened.
    parts = [first_output(part.output).view(shape) for part in block.mlp_out]
    output_tensor = parts[0].clone() if block.overwrites else parts[0]
    for part in parts[1:]:
        output_tensor = output_tensor + part
    return output_tensor if block.scale == 1 else output_tensor * block.scale


class _Through(torch.autograd.Function):
    """What a module gave, untouched, as if it had been made of what is added: that times 1 / scale."""

    @staticmethod
    def forward(ctx: Any, added: Tensor, output_tensor: Tensor, scale: float) -> Tensor:
        """Return `output_tensor`; `added` is only there for its gradient."""
        del added
        ctx.scale = scale
        return output_tensor.view_as(output_tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradient of what is added."""
        return gradients[0] / ctx.scale, None, None


def _keep_inner(kept: Activations, block: Block, options: RunOptions, width: int) -> None:
    """Read queries, keys and values, and what they are made with; of a block without taps, nothing."""
    if "inner" in options.parts and options.grad and block.inner:
        kept.inner_input.append(block.inner[0].input)
        kept.inner_outputs += [projection.output for projection in block.inner]
    whole = options.grad or "attention_calls" in options.parts
    for site in TAPS:
        if site in options.parts and getattr(block, site) is not None:
            heads = getattr(block, site).output
            getattr(kept, site).append(heads if whole else heads[:, :, -width:].contiguous())


def _tail(tensor: Tensor, skip: int) -> Tensor:
    """Keep the positions from one on, and not the memory of the others."""
    return tensor[:, skip:].contiguous() if skip else tensor


def first_output(output: Any) -> Tensor:
    """Some modules give a tuple, others a tensor: the activation itself."""
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor
