"""A loaded model seen as blocks: the nnsight handles of its parts, its sizes, the sites it has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor

from patchgrid.core import names
from patchgrid.core.component_sets import ComponentSet, EdgeSet, Patched
from patchgrid.core.errors import ComponentError, ModelError, SpecError
from patchgrid.core.graph import Graph
from patchgrid.core.sites import EDGE, SITES
from patchgrid.core.types import Component
from patchgrid.engine.model.families import Family, has_part
from patchgrid.engine.model.inner import projections
from patchgrid.engine.model.taps import TAPS, Heads

#: Names under which MLPs keep the projection that their neurons go through.
_DOWN = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "Wo")


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
    #: Modules whose outputs, `[row, head, position, head_dim]`, are queries, keys and values; None: none are.
    q: Any = None
    k: Any = None
    v: Any = None
    #: Its input is `mlp_post`; None: no module has it.
    neurons: Any = None
    #: What queries, keys and values are made with, in the order in which it runs: see `inner.py`.
    inner: tuple[Any, ...] = ()
    #: From the output projection's output (from `z`, where that enters a norm first) to `attn_out`, but for
    #: its scale, by the block's own modules; None: it is that.
    after_projection: Callable[[Tensor], Tensor] | None = None

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
    #: Heads of keys and values: fewer than `n_heads` where queries are grouped.
    n_kv_heads: int
    head_dim: int
    d_model: int
    #: Neurons of each MLP; None where no module shows them.
    d_mlp: int | None
    #: Attention and MLP read the same input.
    parallel: bool
    #: Attention reads the stream only through separate queries, keys and values, without a gate.
    split: bool
    #: Attention's own output is what is added to the stream, or enters what is.
    attention_adds: bool
    #: What the model lacks of what sites need (`Site.needs`): why.
    lacks: Mapping[str, str]
    #: Longest prompt in tokens, or None where the model sets no bound.
    context: int | None
    #: Prompts longer than this are embedded otherwise (LongRoPE), for a whole batch at once; None: all alike.
    short_context: int | None

    def __repr__(self) -> str:
        return f"<Layout of {self.n_layers} layers, {self.n_heads} heads: {', '.join(self.sites)}>"

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def graph(self) -> Graph:
        """The model's edges; an attention that is not `split` is one reader."""
        return _graph(self.n_layers, self.n_heads, self.n_kv_heads, self.parallel, self.split)

    @property
    def absent(self) -> dict[str, str]:
        """The sites that this model does not have: what is missing."""
        missing = ((name, need) for name, site in SITES.items() for need in site.needs)
        return {name: self.lacks[need] for name, need in missing if need in self.lacks}

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites this model has."""
        return tuple(site for site in SITES if site not in self.absent)

    def lacking(self, need: str, why: str | None) -> "Layout":
        """Return the layout of the model that lacks something else that sites need; None: it does not."""
        return self if why is None else replace(self, lacks={**self.lacks, need: why})

    def count(self, site: str) -> int | None:
        """How many components a layer has at a site; None: its scores have no axis of them."""
        size = SITES[site].count
        return None if size is None else int(getattr(self, size))

    def check_sites(self, sites: tuple[str, ...]) -> None:
        """Raise `SpecError` for a site that is unknown or that this model does not have."""
        for site in sites:
            names.check_name("site", site, SITES, "sites")
            if site in self.absent:
                raise SpecError(
                    f"this model has no site {site!r}: {self.absent[site]}; "
                    f"available: {', '.join(self.sites)}",
                    "sites",
                )

    def check_patched(self, patched: Patched) -> None:
        """Raise `ComponentError` for a component or a set that this model does not have."""
        if isinstance(patched, ComponentSet):
            self.check_set(patched)
        elif isinstance(patched, EdgeSet):
            self.check_sites((EDGE,))
            if patched.graph != self.graph:
                raise ComponentError(f"{patched.name} are edges of another model")
        else:
            self.check_component(patched)

    def check_set(self, components: ComponentSet) -> None:
        """Raise `ComponentError` for a set with a component that `check_component` refuses."""
        for component in (end for part in components.parts for end in part.ends()):
            self.check_component(component)

    def check_component(self, component: Component) -> None:
        """Raise `ComponentError` for a layer or head beyond this model's, or an edge that it lacks."""
        self.check_sites((component.site,))
        if component.edge is not None:
            self.graph.number_of(component.edge)
            return
        if not 0 <= component.layer < self.n_layers:
            raise ComponentError(
                f"{component.name}: layer {component.layer} is out of range (0 to {self.n_layers - 1})"
            )
        index, kind, count = component.index, SITES[component.site].index, self.count(component.site)
        if index is not None and kind is not None and count is not None and not 0 <= index < count:
            raise ComponentError(
                f"{component.name}: {kind.name} {index} is out of range "
                f"(0 to {count - 1} at {component.site})"
            )


def read_layout(
    envoy: Any, model: Any, family: Family, heads: Heads | None, inner: tuple[str, ...]
) -> Layout:
    """Find a model's blocks and sizes.

    Parameters
    ----------
    envoy
        The model wrapped by nnsight.
    model
        The same Hugging Face model.
    heads
        What the attention modules' taps show; None: they have none.
    inner
        What `inner_projections` gives.
    """
    config = model.config.get_text_config()
    layers = zip(_follow(envoy, family.layers), model.get_submodule(family.layers), strict=True)
    blocks = tuple(_block(*each, family, inner, tapped=heads is not None) for each in layers)
    d_mlp = _common_width([block.neurons for block in blocks])
    n_heads = config.num_attention_heads
    parallel = _is_parallel(family, config)
    return Layout(
        blocks=blocks,
        head=_head(envoy, model),
        n_heads=n_heads,
        n_kv_heads=n_heads if heads is None else heads.key_values,
        head_dim=_projection_width(model, family) // n_heads,
        d_model=config.hidden_size,
        d_mlp=d_mlp,
        parallel=parallel,
        split=heads is not None and heads.sole,
        lacks=_lacks(parallel=parallel, tapped=heads is not None, neurons=d_mlp is not None),
        attention_adds=family.adds_own_output,
        context=getattr(config, "max_position_embeddings", None),
        short_context=_short_context(config),
    )


def inner_projections(model: Any, family: Family) -> tuple[str, ...]:
    """Name the projections of each attention module that its queries, keys and values are made with."""
    first = model.get_submodule(family.layers)[0]
    return projections(model, first.get_submodule(family.attention), first.get_submodule(family.projection))


def _block(layer: Any, module: Any, family: Family, inner: tuple[str, ...], *, tapped: bool) -> Block:
    attention = _follow(layer, family.attention)
    neurons = _neurons(module, family)
    return Block(
        layer=layer,
        attention=attention,
        projection=_follow(layer, family.projection),
        attn_out=_follow(layer, family.attn_out),
        mlp=None if family.mlp is None else _follow(layer, family.mlp),
        mlp_out=tuple(_follow(layer, part) for part in family.mlp_parts if has_part(module, part)),
        project=_project(module, family),
        scale=1.0 if family.scale is None else float(getattr(module, family.scale)),
        outputs=family.outputs,
        overwrites=family.overwrites,
        **{site: getattr(attention, tap) if tapped else None for site, tap in TAPS.items()},
        neurons=None if neurons is None else _follow(layer, neurons),
        inner=tuple(getattr(attention, name) for name in inner),
        after_projection=_after_projection(module, family),
    )


def _neurons(module: Any, family: Family) -> str | None:
    """Find the projection that takes an MLP's neurons to the residual stream, by its usual names."""
    if has_part(module, family.mlp_out) and _width(module.get_submodule(family.mlp_out)) is not None:
        return family.mlp_out
    if family.mlp is None or not has_part(module, family.mlp):
        return None
    children = dict(module.get_submodule(family.mlp).named_children())
    down = [name for name in _DOWN if name in children and _width(children[name]) is not None]
    return f"{family.mlp}.{down[0]}" if len(down) == 1 else None


def _project(module: Any, family: Family) -> Callable[[Tensor], Tensor]:
    """Compose what a block does with `z` until it is added to the stream."""
    return _composed([module.get_submodule(path) for path in family.leads])


def _composed(modules: Sequence[Any]) -> Callable[[Tensor], Tensor]:
    def run(values: Tensor) -> Tensor:
        for module in modules:
            values = module(values)
        return values

    return run


def _after_projection(module: Any, family: Family) -> Callable[[Tensor], Tensor] | None:
    """Compose what follows the output projection, or the norm that `z` enters in its place."""
    first, *leads = [module.get_submodule(path) for path in family.leads]
    if _width(first) is None:
        leads = [first, *leads]
    return _composed(leads) if leads else None


def _head(envoy: Any, model: Any) -> Any:
    head = model.get_output_embeddings()
    paths = [path for path, module in model.named_modules() if module is head]
    return _follow(envoy, paths[0]) if head is not None and paths else None


def _lacks(*, parallel: bool, tapped: bool, neurons: bool) -> dict[str, str]:
    """Say what a model lacks of what sites need."""
    lacks = {}
    if parallel:
        lacks["sequential"] = "its attention and MLP read the same input"
    if not tapped:
        lacks["taps"] = "its attention does not go through transformers' attention interface"
    if not neurons:
        lacks["neurons"] = "its MLP has experts, or no single projection of its neurons"
    return lacks


#: RunOptions for component by component: its tables are made once.
_graph = cache(Graph)


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
    entered = model.get_submodule(family.layers)[0].get_submodule(family.projection)
    width = _width(entered)
    if width is None and getattr(entered, "weight", None) is not None:
        width = len(entered.weight)  # a norm on the heads
    if width is None:
        raise ModelError(
            f"the width of {family.projection}'s input is not known: cannot tell the heads apart"
        )
    return width


def _common_width(projections: Sequence[Any]) -> int | None:
    """Width of the projections' inputs, or None where one is missing or they differ."""
    widths = {None if each is None else _width(each._module) for each in projections}  # noqa: SLF001
    return widths.pop() if len(widths) == 1 else None


def _width(module: Any) -> int | None:
    """Width of a projection's input, or None for a module of another kind."""
    if hasattr(module, "in_features"):
        return int(module.in_features)
    return int(module.weight.shape[0]) if hasattr(module, "nf") else None  # Conv1D's weight is [in, out]


def _follow(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root
