"""The sites, a record each: how its components are named and numbered, what it needs, where a patch goes in.

A site with an index of its own is one record here and, if its activation is not one that the engine keeps
already, one file in `engine/sites`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class IndexKind:
    """What the components of one layer are, where there are several."""

    #: What one is called; the keyword of `Component` that takes its number.
    name: str
    #: Field of tables, exports and JSON that holds the number.
    field: str


HEAD = IndexKind("head", "head")
NEURON = IndexKind("neuron", "unit")
#: All kinds, by name.
INDEX_KINDS: Mapping[str, IndexKind] = {kind.name: kind for kind in (HEAD, NEURON)}
#: The fields that hold an index, of all kinds.
INDEX_FIELDS = tuple(dict.fromkeys(kind.field for kind in INDEX_KINDS.values()))


class Point(IntEnum):
    """Where in a block's forward pass a patch goes in, in the order in which the pass gets there."""

    #: The stream that enters the block.
    INPUT = 0
    #: Queries, keys and values.
    QKV = 1
    #: What attention's output projection reads: attention itself need not be run again.
    HEADS = 2
    #: What attention adds to the stream.
    ATTENTION = 3
    #: Within the MLP.
    MLP = 4
    #: The stream behind the block: only the next block runs on it.
    OUTPUT = 5


@dataclass(frozen=True, slots=True)
class Site:
    """A kind of activation that is scored and patched."""

    #: What it is called on the command line and in results.
    name: str
    #: What it is, in a few words.
    words: str
    #: Where a patch goes in.
    point: Point
    #: Module of `engine.sites` that reads it off a run and patches it.
    module: str = "base"
    #: What the engine keeps of a run for it, beside the stream: fields of `engine.runs.Activations`.
    parts: tuple[str, ...] = ()
    #: What it keeps of the base run besides, where the site is patched.
    patch_parts: tuple[str, ...] = ()
    #: What a model must have for it: keys of `engine.model.layout.Layout.lacks`.
    needs: tuple[str, ...] = ()
    #: What its components are numbered by within a layer; None: a layer is one component.
    index: IndexKind | None = None
    #: Size of the model's layout that says how many of them a layer has; None: scores have no axis of them.
    count: str | None = None
    #: What a component's name begins with, if not the site's name, and what stands before its index.
    stem: str = ""
    mark: str = ".h"
    #: Too many components: only a pair's largest scores are stored.
    wide: bool = False
    #: Activations can be averaged over positions and pairs: the source `mean` is supported.
    has_mean: bool = True

    def __repr__(self) -> str:
        return f"<Site {self.name}: {self.words}>"

    @property
    def begin(self) -> str:
        """What the name of one of its components begins with, before the layer."""
        return self.stem or self.name

    @property
    def begin_whole(self) -> str:
        """What the name of a whole layer begins with: `z9` is all heads, `a9` what they add up to."""
        return self.begin if self.index is None else self.name


#: The site of edges: what one component adds to another's input. An edge's index is that of its sender.
EDGE = "edge"
_RECORDS = (
    Site("resid_pre", "residual stream before a layer", Point.INPUT, "resid_pre"),
    Site("q", "queries, by head", Point.QKV, "qkv", ("q",), (), ("taps",), HEAD, "n_heads"),
    Site("k", "keys, by head", Point.QKV, "qkv", ("k",), (), ("taps",), HEAD, "n_kv_heads"),
    Site("v", "values, by head", Point.QKV, "qkv", ("v",), (), ("taps",), HEAD, "n_kv_heads"),
    Site(
        "attn_pattern",
        "attention patterns, by head",
        Point.HEADS,
        "attn_pattern",
        parts=("q", "k", "v", "z", "attention_calls"),
        needs=("taps", "softmax"),
        index=HEAD,
        count="n_heads",
        has_mean=False,
    ),
    Site("z", "head outputs", Point.HEADS, parts=("z",), index=HEAD, count="n_heads", stem="a"),
    Site("attn_out", "attention's addition to the stream", Point.ATTENTION, parts=("attn_out",), stem="a"),
    Site(
        "resid_mid",
        "residual stream between attention and MLP",
        Point.ATTENTION,
        "resid_mid",
        parts=("attn_out",),
        needs=("sequential",),
    ),
    Site(
        "mlp_post",
        "neurons",
        Point.MLP,
        "neurons",
        parts=("mlp_post",),
        patch_parts=("attn_out",),
        needs=("neurons",),
        index=NEURON,
        count="d_mlp",
        stem="n",
        mark=".",
        wide=True,
    ),
    Site(
        "mlp_out",
        "MLP's addition to the stream",
        Point.OUTPUT,
        "mlp_out",
        parts=("mlp_out",),
        patch_parts=("attn_out",),
        stem="m",
    ),
    Site("resid_post", "residual stream after a layer", Point.OUTPUT, "resid_post"),
    Site(
        EDGE,
        "edges between components",
        Point.INPUT,
        parts=("q", "k", "v", "z", "attn_out", "mlp_out", "inner"),
        index=HEAD,
        wide=True,
    ),
)
#: What is scored, by name, in the order in which a forward pass reaches it; edges last.
SITES: Mapping[str, Site] = {site.name: site for site in _RECORDS}
#: Sites whose scores have an axis of heads.
HEAD_SITES = tuple(site.name for site in SITES.values() if site.index == HEAD and site.count)
#: Sites with so many components that only the largest are stored per pair.
WIDE_SITES = tuple(site.name for site in SITES.values() if site.wide)


def index_fields(site: str, index: int | None) -> dict[str, int | None]:
    """Return a component's index as in tables, exports and JSON: one field a kind, None in the others."""
    kind = SITES[site].index
    return {name: index if kind is not None and name == kind.field else None for name in INDEX_FIELDS}


def index_of_fields(values: Iterable[int | None]) -> int | None:
    """Read back the index from the values of `INDEX_FIELDS`."""
    return next((value for value in values if value is not None), None)


def short_name(
    site: str, layer: int, index: int | None = None, position: object = None, edge: str | None = None
) -> str:
    """Write a component's name: `a9.h6`, `m5`, `n5.1234`, `resid_post3@-1`; an edge's is its own."""
    record = SITES[site]
    if edge is not None:
        name = edge
    elif index is None:
        name = f"{record.begin_whole}{layer}"
    else:
        name = f"{record.begin}{layer}{record.mark}{index}"
    if position is None:
        return name
    if isinstance(position, tuple):
        position = ",".join(map(str, position))
    return f"{name}@{position}"


def split_name(name: str) -> tuple[str, int, int | None] | None:
    """Read site, layer and index of a name without its position; None: it is not one, or an edge."""
    match = _NAME.fullmatch(name)
    site = None if match is None else _SITE_OF.get((match["stem"], match["mark"]))
    if match is None or site is None:
        return None
    return site, int(match["layer"]), None if match["index"] is None else int(match["index"])


_NUMBER = "0|[1-9][0-9]{0,8}"
_NAME = re.compile(
    rf"(?P<stem>[a-z_]+)(?P<layer>{_NUMBER})(?:(?P<mark>\.[a-z]?)(?P<index>{_NUMBER}))?", re.ASCII
)
_SITE_OF: dict[tuple[str, str | None], str] = {
    **{(site.begin, site.mark): name for name, site in SITES.items() if site.index and name != EDGE},
    **{(site.begin_whole, None): name for name, site in SITES.items() if name != EDGE},
}
