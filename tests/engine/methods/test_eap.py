"""Edge scores against plain hooks, a reader a time, and against the scores of nodes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from patchgrid.core.graph import Graph
from patchgrid.core.names import DIRECTIONS
from patchgrid.engine import Component, Engine
from patchgrid.engine.model.shortcuts import Shortcuts
from reference.edges import EdgeReference
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import FAMILIES, each

CaseOf = Callable[[str], Case]
#: Which of a case's pairs the reference is asked about: it runs and differentiates once a reader.
CHOSEN = (0, 4)


def references(case: Case, direction: str, chosen: tuple[int, ...] = CHOSEN) -> list[EdgeReference]:
    """Return the reference's view of some pairs' edges."""
    made = case.references(direction)
    return [EdgeReference(made[index], case.engine.layout.graph) for index in chosen]


@pytest.mark.parametrize(("direction", "metric"), [("denoise", "logit_diff"), ("noise", "prob_diff")])
@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_scores_equal_the_reference(case_of: CaseOf, family: str, direction: str, metric: str) -> None:
    """Every edge at every position, of pairs of differing lengths scored in one call."""
    case = case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=("edge",), method="eap", direction=direction, metric=metric
    )
    for index, reference in zip(CHOSEN, references(case, direction), strict=True):
        found = results[index].scores["eap"]["edge"]
        assert found.dtype == np.float32
        assert_close(found, reference.scores(metric), 1e-4, f"pair {index}")


@pytest.mark.parametrize(
    ("family", "direction"), [*each(DIRECTIONS, ["denoise"]), *(("demo_model", way) for way in DIRECTIONS)]
)
def test_edges_of_a_sender_add_up_to_its_node_score(case_of: CaseOf, family: str, direction: str) -> None:
    """Summed over all readers, `logits` included: heads to `z`, MLPs to `mlp_out`, input to `resid_pre`."""
    case = case_of(family)
    options: dict[str, Any] = {"direction": direction}
    nodes = case.engine.attribute(case.pairs, sites=("resid_pre", "z", "mlp_out"), **options)
    edges = case.engine.attribute(case.pairs, sites=("edge",), method="eap", **options)
    for node, edge in zip(nodes, edges, strict=True):
        assert_close(
            by_sender(case.engine.layout.graph, edge.scores["eap"]["edge"]),
            by_node(node.scores["atp"]),
            1e-5,
            "sum",
        )


def by_sender(graph: Graph, edges: np.ndarray) -> np.ndarray:
    """Sum scores `[edge, position]` over readers: `[sender, position]`."""
    senders = np.array([graph.ends(number)[0] for number in range(graph.count)])
    sums = np.zeros((len(graph.senders), edges.shape[1]))
    np.add.at(sums, senders, edges.astype(np.float64))
    return sums


def by_node(scores: dict[str, np.ndarray]) -> np.ndarray:
    """Put node scores in the order of `Graph.senders`: `[sender, position]`."""
    rows = [scores["resid_pre"][0]]
    for heads, mlp in zip(scores["z"], scores["mlp_out"], strict=True):
        rows += [*heads.T, mlp]
    return np.stack(rows)


@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "phi", "opt"])
def test_positions_can_be_summed(case_of: CaseOf, family: str) -> None:
    """One score an edge: the sum over positions."""
    case = case_of(family)
    options: dict[str, Any] = {"sites": ("edge",), "method": "eap"}
    kept = case.engine.attribute(case.pairs, **options)
    summed = case.engine.attribute(case.pairs, keep_positions=False, **options)
    for one, other in zip(summed, kept, strict=True):
        assert one.scores["eap"]["edge"].shape == (case.engine.layout.graph.count,)
        assert_close(one.scores["eap"]["edge"], other.scores["eap"]["edge"].sum(axis=1), 1e-5, "sum")


@pytest.mark.parametrize("method", ["eap", "eap-ig"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_shortcuts_and_batches_change_no_score(
    case_of: CaseOf, family: str, direction: str, method: str
) -> None:
    """All shortcuts on, in one batch, against none, pair by pair; some pairs share their prompts."""
    case = case_of(family)
    clean = "When Mary and John went to the shop, John gave"
    shared = [
        replace(case.pairs[0], clean=clean, corrupted=clean.replace(", John", f", {name}"))
        for name in ("Anna", "Tom")
    ]
    options: dict[str, Any] = {"sites": ("edge",), "method": method, "direction": direction}
    if method == "eap-ig":
        options["steps"] = 2
    pairs = [*case.pairs, *(shared if family != "demo_model" else [])]
    found = case.engine.attribute(pairs, **options, batch_tokens=1000)
    plain = case.engine.with_shortcuts(Shortcuts.none()).attribute(pairs, **options, batch_tokens=1)
    for one, other in zip(found, plain, strict=True):
        assert one.error is None
        assert_close(one.scores[method]["edge"], other.scores[method]["edge"], 1e-5, family, floor=ROUNDING)


@pytest.mark.parametrize(("direction", "metric"), [("denoise", "logprob"), ("noise", "kl")])
@pytest.mark.parametrize("family", [*FAMILIES, "demo_model"])
def test_integrated_scores_equal_the_reference(
    case_of: CaseOf, family: str, direction: str, metric: str
) -> None:
    """Gradients at the middles of three parts of the path, averaged."""
    case = case_of(family)
    results = case.engine.attribute(
        case.pairs, sites=("edge",), method="eap-ig", steps=3, direction=direction, metric=metric
    )
    [reference] = references(case, direction, (4,))
    expected = reference.scores(metric, [1 / 6, 3 / 6, 5 / 6])
    assert_close(results[4].scores["eap-ig"]["edge"], expected, 1e-4, family)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_integrated_scores_of_the_input_add_up_to_the_metric_s_change(case_of: CaseOf, family: str) -> None:
    """Over all its readers and positions, ever nearer with more steps."""
    case = case_of(family)
    senders = np.array([case.engine.layout.graph.ends(n)[0] for n in range(case.engine.layout.graph.count)])
    errors = []
    for steps in (2, 16):
        results = case.engine.attribute(case.pairs[4:], sites=("edge",), method="eap-ig", steps=steps)
        sums = [each.scores["eap-ig"]["edge"][senders == 0].sum() for each in results]
        gaps = [each.clean_metric - each.corrupted_metric for each in results]
        errors.append(np.abs(np.array(sums) - gaps).max() / np.abs(gaps).max())
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 8


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "phi3", "olmo2"])
def test_scores_are_the_same_without_the_projections_of_queries_keys_and_values(
    case_of: CaseOf, family: str
) -> None:
    """As where adapters or quantised weights hide them: single heads go back through the whole projection."""
    case = case_of(family)
    model = case.engine._model
    assert all(block.inner for block in model.layout.blocks)
    blocks = tuple(replace(block, inner=()) for block in model.layout.blocks)
    hidden = replace(model, layout=replace(model.layout, blocks=blocks))
    options: dict[str, Any] = {"sites": ("edge",), "method": "eap"}
    engine = Engine._of(hidden, lambda: case.engine.provenance, case.engine.findings)
    found = engine.attribute(case.pairs, **options)
    for one, other in zip(found, case.engine.attribute(case.pairs, **options), strict=True):
        assert_close(one.scores["eap"]["edge"], other.scores["eap"]["edge"], 1e-5, family)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("source", ["mean", "zero"])
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_edges_add_up_where_means_or_zero_are_put_in(
    case_of: CaseOf, family: str, source: str, direction: str
) -> None:
    """Every position differs then, from the first on."""
    engine, pairs = case_of(family).engine, case_of(family).pairs
    means = engine.means(pairs, ("resid_pre", "z", "mlp_out"), direction=direction)
    given = {"source": source, "direction": direction, "means": means if source == "mean" else None}
    nodes = engine.attribute(pairs, sites=("resid_pre", "z", "mlp_out"), **given)
    edges = engine.attribute(pairs, sites=("edge",), method="eap", **given | {"means": None})
    for node, edge in zip(nodes, edges, strict=True):
        assert_close(
            by_sender(engine.graph, edge.scores["eap"]["edge"]),
            by_node(node.scores["atp"]),
            1e-5,
            "sum over readers",
        )


@pytest.mark.parametrize("source", ["mean", "zero"])
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "phi"])
def test_the_last_mlp_s_one_edge_is_its_node(case_of: CaseOf, family: str, source: str) -> None:
    """Nothing but the logits reads it."""
    case = case_of(family)
    last = case.layers - 1
    edge, node = Component.parse(f"m{last}->logits"), Component("mlp_out", last)
    [by_edge] = case.engine.patch(case.pairs, [edge], source=source).T
    [by_its_node] = case.engine.patch(case.pairs, [node], source=source).T
    assert_close(by_edge, by_its_node, 1e-5, "effect")
