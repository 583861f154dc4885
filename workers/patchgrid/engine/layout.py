"""A loaded model seen as blocks: the nnsight handles of its parts, its sizes, the sites it has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from patchgrid.engine import names
from patchgrid.engine.errors import ComponentError, ModelError, SpecError
from patchgrid.engine.families import Family, has_part
from patchgrid.engine.structure import find_family
from patchgrid.engine.types import Component


@dataclass(frozen=True, slots=True)
class Block:
    """nnsight handles of one block's parts."""

    #: The whole block: its input is `resid_pre`, its output `resid_post`.
    layer: Any
    #: The attention module.
    attention: Any
    #: The output projection: its input is `z`.
    projection: Any
    #: Its output, or the first of its outputs, times `scale` is `attn_out`.
    attn_out: Any
    #: All that the MLP reads is its input; None where no module has it as `[pair, position, width]`.
    mlp: Any
    #: Their outputs, or the first of each one's outputs, summed and times `scale` are `mlp_out`.
    mlp_out: tuple[Any, ...]
    #: From `z` to what `attn_out`'s module gives, by the block's own modules.
    project: Callable[[Tensor], Tensor]
    #: What attention and MLP give is multiplied by this before it is added to the stream.
    scale: float
    #: How many values the block gives, the stream first; 1: the stream itself.
    outputs: int
    #: The block writes into what its MLP gave.
    overwrites: bool

    def gives(self, stream: Tensor) -> Any:
        """What the block's caller expects of it, with this stream."""
        return stream if self.outputs == 1 else (stream, *[None] * (self.outputs - 1))


@dataclass(frozen=True, slots=True)
class Layout:
    """What the engine needs to know of a model's architecture."""

    blocks: tuple[Block, ...]
    #: nnsight handle of the projection to the vocabulary; None where the model names none.
    head: Any
    n_heads: int
    head_dim: int
    d_model: int
    #: Attention and MLP read the same input.
    parallel: bool
    #: Attention's own output is what is added to the stream, or enters what is.
    attention_adds: bool
    #: Longest prompt in tokens, or None where the model sets no bound.
    context: int | None
    #: Prompts longer than this are embedded otherwise (LongRoPE), for a whole batch at once; None: all alike.
    short_context: int | None

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites this model has."""
        return tuple(site for site in names.SITES if not (self.parallel and site == "resid_mid"))

    def check_sites(self, sites: tuple[str, ...]) -> None:
        """Raise `SpecError` for a site that is unknown or that this model does not have."""
        for site in sites:
            names.check_name("site", site, names.SITES)
            if site not in self.sites:
                raise SpecError(
                    f"this model has no site {site!r}: its attention and MLP read the same input, "
                    f"so nothing lies between them. It has: {', '.join(self.sites)}"
                )

    def check_component(self, component: Component) -> None:
        """Raise `ComponentError` for a layer or head beyond this model's."""
        self.check_sites((component.site,))
        if not 0 <= component.layer < self.n_layers:
            raise ComponentError(
                f"{component.name}: layer {component.layer} is not there, "
                f"the model has layers 0 to {self.n_layers - 1}"
            )
        if component.head is not None and not 0 <= component.head < self.n_heads:
            raise ComponentError(
                f"{component.name}: head {component.head} is not there, "
                f"the model has heads 0 to {self.n_heads - 1}"
            )


def read_layout(envoy: Any, model: Any) -> Layout:
    """Find a model's blocks and sizes.

    Parameters
    ----------
    envoy
        The model wrapped by nnsight.
    model
        The same Hugging Face model.
    """
    family = find_family(model)
    config = model.config.get_text_config()
    layers = zip(_follow(envoy, family.layers), model.get_submodule(family.layers), strict=True)
    blocks = tuple(_block(layer, module, family) for layer, module in layers)
    n_heads = config.num_attention_heads
    return Layout(
        blocks=blocks,
        head=_head(envoy, model),
        n_heads=n_heads,
        head_dim=_projection_width(model, family) // n_heads,
        d_model=config.hidden_size,
        parallel=_is_parallel(family, config),
        attention_adds=family.adds_own_output,
        context=getattr(config, "max_position_embeddings", None),
        short_context=_short_context(config),
    )


def _block(layer: Any, module: Any, family: Family) -> Block:
    return Block(
        layer=layer,
        attention=_follow(layer, family.attention),
        projection=_follow(layer, family.projection),
        attn_out=_follow(layer, family.attn_out),
        mlp=None if family.mlp is None else _follow(layer, family.mlp),
        mlp_out=tuple(_follow(layer, part) for part in family.mlp_parts if has_part(module, part)),
        project=_project(module, family),
        scale=1.0 if family.scale is None else float(getattr(module, family.scale)),
        outputs=family.outputs,
        overwrites=family.overwrites,
    )


def _project(module: Any, family: Family) -> Callable[[Tensor], Tensor]:
    """Compose what a block does with `z` until it is added to the stream."""
    leads = [module.get_submodule(path) for path in family.leads]

    def project(z: Tensor) -> Tensor:
        for lead in leads:
            z = lead(z)
        return z

    return project


def _head(envoy: Any, model: Any) -> Any:
    head = model.get_output_embeddings()
    paths = [path for path, module in model.named_modules() if module is head]
    return _follow(envoy, paths[0]) if head is not None and paths else None


def _is_parallel(family: Family, config: Any) -> bool:
    if isinstance(family.parallel, str):
        return bool(getattr(config, family.parallel))
    return family.parallel


def _short_context(config: Any) -> int | None:
    """The length up to which a LongRoPE model uses its short factors."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    bound = rope.get("original_max_position_embeddings", config.max_position_embeddings)
    return int(bound)


def _projection_width(model: Any, family: Family) -> int:
    projection = model.get_submodule(family.layers)[0].get_submodule(family.projection)
    width = getattr(projection, "in_features", None)
    weight = getattr(projection, "weight", None)
    if (
        width is None and weight is not None
    ):  # GPT-2's Conv1D keeps its weight as [in, out]; norms have one axis
        width = weight.shape[0]
    if width is None:
        raise ModelError(
            f"the width of {family.projection}'s input is not known: cannot tell the heads apart"
        )
    return int(width)


def _follow(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root
