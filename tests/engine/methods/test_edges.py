"""Edges by name and number; no model is needed."""

import pytest

from patchgrid.core.errors import ComponentError
from patchgrid.core.graph import Graph
from patchgrid.core.types import Component

GPT2 = Graph(n_layers=12, n_heads=12, n_kv_heads=12)
SMALL = Graph(n_layers=2, n_heads=4, n_kv_heads=2)
GRAPHS = [
    SMALL,
    Graph(2, 4, 2, parallel=True),
    Graph(2, 4, 2, split=False),
    Graph(3, 2, 2, parallel=True, split=False),
]


def layer_of(name: str) -> int:
    """Return the layer of an edge's end."""
    return int("".join(character for character in name.split(".")[0] if character.isdigit()))


def comes_before(sender: str, reader: str, graph: Graph) -> bool:
    """Tell whether a reader's input has a sender in it, from the two names alone."""
    if sender == "input" or reader == "logits":
        return True
    if layer_of(sender) != layer_of(reader):
        return layer_of(sender) < layer_of(reader)
    return sender.startswith("a") and reader.startswith("m") and not graph.parallel


def test_gpt2_small_has_as_many_edges_as_the_field_counts() -> None:
    """32,491, as auto-circuit and EAP-IG have it."""
    assert GPT2.count == len(GPT2.names) == len(set(GPT2.names)) == 32_491
    assert len(GPT2.senders) == 1 + 12 * 13
    assert len(GPT2.readers) == 12 * 37 + 1


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_edges_are_all_pairs_of_a_sender_and_a_later_reader(graph: Graph) -> None:
    """By reader, then by sender."""
    expected = [
        f"{sender}->{reader}"
        for reader in graph.readers
        for sender in graph.senders
        if comes_before(sender, reader, graph)
    ]
    assert list(graph.names) == expected
    assert graph.count == len(expected)


def test_senders_and_readers_stand_in_the_order_of_a_forward_pass() -> None:
    """Keys and values go by key-value head."""
    assert SMALL.senders[:7] == ("input", "a0.h0", "a0.h1", "a0.h2", "a0.h3", "m0", "a1.h0")
    assert SMALL.readers[:9] == (
        *(f"a0.h{head}<q>" for head in range(4)),
        *(f"a0.h{head}<{what}>" for what in "kv" for head in range(2)),
        "m0",
    )
    assert SMALL.readers[-1] == "logits"
    assert Graph(2, 4, 2, split=False).readers == ("a0", "m0", "a1", "m1", "logits")


@pytest.mark.parametrize("graph", GRAPHS)
def test_numbers_and_names_lead_to_each_other(graph: Graph) -> None:
    """For every edge; its ends are those of its name."""
    for number, name in enumerate(graph.names):
        assert graph.number_of(name) == number
        assert graph.name(number) == name
        sender, reader = graph.ends(number)
        assert (graph.senders[sender], graph.readers[reader]) == tuple(name.split("->"))


def test_an_edge_is_a_component_at_its_sender() -> None:
    """With its name, and a position if one is given."""
    number = SMALL.number_of("a0.h2->a1.h1<k>")
    assert SMALL.component(number) == Component.parse("a0.h2->a1.h1<k>")
    assert SMALL.component(number, -1).position == -1
    assert (SMALL.component(number).layer, SMALL.component(number).index) == (0, 2)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_goes_through_json_unchanged(graph: Graph) -> None:
    """As the provenance of a job keeps it."""
    assert Graph.from_dict(graph.as_dict()) == graph


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a1.h0->m0", "a1.h0 does not come before m0"),
        ("a0.h0->a0.h1<q>", "a0.h0 does not come before a0.h1<q>"),
        ("a0.h4->m0", "a0.h4 is not a sender"),
        ("m0->a1.h2<k>", r"a1.h2<k> is not a reader.*2 key-value heads"),
        ("m0->a1", "readers are a3.h2<q>"),
        ("m0-m1", "cannot read edge"),
    ],
)
def test_an_edge_that_is_not_there_is_refused(name: str, reason: str) -> None:
    """With what would be one."""
    with pytest.raises(ComponentError, match=reason):
        SMALL.number_of(name)


@pytest.mark.parametrize("number", [-1, SMALL.count])
def test_a_number_beyond_the_last_edge_is_refused(number: int) -> None:
    """Negative ones, too."""
    with pytest.raises(ComponentError, match="out of range"):
        SMALL.name(number)
