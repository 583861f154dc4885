"""One block of a run of patched copies: what is patched in it, in the order in which the pass gets there."""

from collections.abc import Sequence
from typing import Protocol

from einops import rearrange
from torch import Tensor

from patchgrid.core.sites import Point
from patchgrid.engine.model.layout import Layout
from patchgrid.engine.model.taps import TAPS
from patchgrid.engine.patching.patches import Patches
from patchgrid.engine.runs.activations import first_output, work_for_last_only
from patchgrid.engine.sites import Run, access
from patchgrid.engine.sites.base import by_position


class CopiesRun(Protocol):
    """A run of patched copies: see `nodes.PatchedRun`."""

    @property
    def layout(self) -> Layout:
        """The model's parts."""

    @property
    def patches(self) -> Patches:
        """What the copies are patched with."""

    @property
    def base_run(self) -> Run:
        """The base run."""

    @property
    def rows(self) -> Tensor:
        """int64 `[copy]`, their rows of the base run."""

    @property
    def width(self) -> int:
        """Number of positions that they run."""

    def of_base(self, values: Tensor) -> Tensor:
        """From the base run, `[row, position, width]`, to `[copy, position, width]`."""

    def new(self, site: str, layer: int, positions: int) -> Tensor:
        """What is put in at a site, `[copy, position, width]`."""


class PatchedBlock:
    """A block of a run of patched copies: what its sites are patched by (`sites.Copies`).

    Parameters
    ----------
    stream
        `[copy, position, d_model]`, what enters the block; None: what enters it in the base run.
    as_base
        Nothing up to the block's keys and values differs from the base run's.
    """

    def __init__(
        self, run: CopiesRun, layer: int, stream: Tensor | None = None, *, as_base: bool = False
    ) -> None:
        self._run, self.layer, self._as_base = run, layer, as_base
        self._block = run.layout.blocks[layer]
        self._stream = stream
        #: `[copy, position, d_model]`, what attention adds; None: what it adds in the base run.
        self._added: Tensor | None = None
        #: `[copy, key-value head, position, head_dim]`, of all positions; None: the base run's.
        self.values: Tensor | None = None

    @property
    def base_run(self) -> Run:
        """The base run."""
        return self._run.base_run

    @property
    def rows(self) -> Tensor:
        """int64 `[copy]`, the copies' rows of the base run."""
        return self._run.rows

    @property
    def stream(self) -> Tensor:
        """What enters the block, `[copy, position, d_model]`."""
        return self.of_base(self.base_run.stream[self.layer]) if self._stream is None else self._stream

    @property
    def middle(self) -> Tensor:
        """The stream behind attention, `[copy, position, d_model]`."""
        if self._added is None:
            return self.of_base(self.base_run.at("resid_mid", self.layer))
        # A model's layers may lie on several devices.
        return self.stream[:, -self._added.shape[1] :].to(self._added.device) + self._added

    def of_base(self, values: Tensor) -> Tensor:
        """From the base run, `[row, position, width]`, to `[copy, position, width]`."""
        return self._run.of_base(values)

    def new(self, site: str, positions: int) -> Tensor:
        """What is put in at a site, `[copy, position, width]`: its last positions."""
        return self._run.new(site, self.layer, positions)

    def write(self, site: str, into: Tensor, new: Tensor) -> Tensor:
        """Write what is new where copies are patched at a site: see `Patches.write`."""
        return self._run.patches.write(site, self.layer, self._run.layout.count(site), into, new)

    def patched(self, point: Point, values: Tensor) -> Tensor:
        """Patch what stands at a point of the pass, `[copy, position, width]`; it is written to."""
        for site in self._sites(point):
            values = access(site).patch(self, values)
        return values

    def attention_of_base(self) -> None:
        """Make what attention adds from the base run's `z`, or take the base run's own, and patch it."""
        run, block = self.base_run, self._block
        if self._sites(Point.HEADS):
            z = self.patched(Point.HEADS, self.of_base(run.z[self.layer]))
            added = _times(block.project(z), block.scale)
        else:
            added = self.of_base(run.attn_out[self.layer])
        self._added = self.patched(Point.ATTENTION, added)

    def enter(self) -> None:
        """Inside the trace, patch what enters the block; of the first that runs, it is known before."""
        if self._stream is not None:
            return
        if self._sites(Point.INPUT):
            self._stream = self.patched(Point.INPUT, self._block.layer.input.clone())
            self._block.layer.input = self._stream
        elif self._reads_stream:
            self._stream = self._block.layer.input

    def run(self, *, last_only: bool) -> None:
        """Inside the trace, patch what lies in the block, in the order in which the pass gets there.

        `last_only` has it work for the last position only, from its `z` on. After `attention_of_base`
        attention is not run.
        """
        block = self._block
        if self._added is not None:
            given = _times(self._added, 1 / block.scale)
            block.attention.skip((given, None))
            if block.attn_out is not block.attention:
                block.attn_out.skip(given)
        else:
            self.run_attention(last_only=last_only)
        if last_only:
            block.mlp.input = block.mlp.input[:, -1:]
        if self._sites(Point.MLP):
            # OPT's MLP sees the batch flattened.
            entering = block.neurons.input
            own = entering.clone().view(len(self.rows), -1, entering.shape[-1])
            block.neurons.input = self.patched(Point.MLP, own).view(entering.shape)

    def leave(self) -> None:
        """Inside the trace, patch the stream that leaves the block."""
        if self._sites(Point.OUTPUT):
            output = self._block.layer.output
            stream = self.patched(Point.OUTPUT, first_output(output).clone())
            self._block.layer.output = (stream, *output[1:]) if isinstance(output, tuple) else stream

    def run_attention(self, *, last_only: bool) -> None:
        """Inside the trace, patch what lies in attention, in the order in which the pass gets there."""
        block = self._block
        self._patch_taps()
        if last_only:
            work_for_last_only(block)
        if self._sites(Point.HEADS):
            block.projection.input = self.patched(Point.HEADS, block.projection.input.clone())
        if not (self._sites(Point.ATTENTION) or self._reads_stream):
            return
        output = block.attn_out.output
        self._added = _times(first_output(output).clone(), block.scale)
        if self._sites(Point.ATTENTION):
            self._added = self.patched(Point.ATTENTION, self._added)
            given = _times(self._added, 1 / block.scale)
            block.attn_out.output = (given, *output[1:]) if isinstance(output, tuple) else given

    def _patch_taps(self) -> None:
        """Inside the trace, write new queries, keys and values; keep values where patterns are new."""
        there = self._sites(Point.QKV)
        reads_values = "attn_pattern" in self._sites(Point.HEADS) and not self._as_base
        for site in TAPS:
            tap = getattr(self._block, site)
            if site in there:
                # Keys and values of the positions before the copies' own come first.
                values = by_position(tap.output).clone()
                access(site).patch(self, values[:, -self._run.width :])
                tap.output = rearrange(
                    values,
                    "copy position (head dim) -> copy head position dim",
                    head=self._run.layout.count(site),
                )
            if site == "v" and reads_values:
                self.values = tap.output

    def _sites(self, point: Point) -> Sequence[str]:
        return self._run.patches.sites(self.layer, point)

    @property
    def _reads_stream(self) -> bool:
        """Whether a site is patched whose activation is a part of the stream's sum."""
        return bool({"resid_mid", "mlp_out"} & {*self._sites(Point.ATTENTION), *self._sites(Point.OUTPUT)})


def _times(values: Tensor, scale: float) -> Tensor:
    return values if scale == 1 else values * scale
