"""A site read off a run and patched: what is the same for all, and the simplest kind."""

from collections.abc import Mapping
from typing import Protocol

from einops import rearrange
from torch import Tensor

from patchgrid.core.sites import Site
from patchgrid.engine.model.taps import AttentionCall


class Run(Protocol):
    """What one forward pass kept: see `runs.activations.Activations`."""

    stream: list[Tensor]
    z: list[Tensor]
    attn_out: list[Tensor]
    mlp_out: list[Tensor]
    mlp_post: list[Tensor]
    q: list[Tensor]
    k: list[Tensor]
    v: list[Tensor]
    attention_calls: Mapping[int, AttentionCall]

    def at(self, site: str, layer: int) -> Tensor:
        """The activation of a site, `[row, position, width]`."""


class Copies(Protocol):
    """Patched copies of the base run in one block: see `patching.blocks.PatchedBlock`."""

    @property
    def base_run(self) -> Run:
        """The base run."""

    @property
    def rows(self) -> Tensor:
        """int64 `[copy]`, their rows of the base run."""

    @property
    def layer(self) -> int:
        """The block's layer."""

    @property
    def stream(self) -> Tensor:
        """What enters the block, `[copy, position, d_model]`."""

    @property
    def middle(self) -> Tensor:
        """The stream behind attention, `[copy, position, d_model]`."""

    @property
    def values(self) -> Tensor | None:
        """`[copy, key-value head, position, head_dim]`, of all positions; None: the base run's."""

    def of_base(self, values: Tensor) -> Tensor:
        """From the base run, `[row, position, width]`, to the positions that copies run, one row a copy."""

    def new(self, site: str, positions: int) -> Tensor:
        """What is put in at a site: its last positions, `[copy, position, width]`."""

    def write(self, site: str, into: Tensor, new: Tensor) -> Tensor:
        """Write the positions and the indices that copies are patched at, and give `[copy, position, width]`.

        Only copies patched at this site are written to.
        """


class Access:
    """A site whose activation is kept as the model has it: `[row, position, width]`, by the site's name."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def at(self, run: Run, layer: int) -> Tensor:
        """Return the activation, `[row, position, width]`; width is index * dim for a site with an index."""
        return self.slope(run, layer, self.watched(run, layer))

    def watched(self, run: Run, layer: int) -> Tensor:
        """Return the tensor of the run's graph that the gradient at the site is made from."""
        parts: list[Tensor] = getattr(run, self.site.name)
        return parts[layer]

    def slope(self, run: Run, layer: int, gradient: Tensor) -> Tensor:
        """Make the gradient at the site, `[row, position, width]`, from that of `watched`."""
        del run, layer
        return gradient

    def patch(self, copies: Copies, values: Tensor) -> Tensor:
        """Patch copies: `values` is what stands at the site's point, `[copy, position, width]`."""
        return copies.write(self.site.name, values, copies.new(self.site.name, values.shape[1]))


def by_position(heads: Tensor) -> Tensor:
    """From `[row, head, position, head_dim]` to `[row, position, head * head_dim]`."""
    return rearrange(heads, "row head position dim -> row position (head dim)")


def head_view(values: Tensor, heads: int) -> Tensor:
    """Split `[..., head * head_dim]` into `[..., head, head_dim]`."""
    return rearrange(values, "... (head dim) -> ... head dim", head=heads)
