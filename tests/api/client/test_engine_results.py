"""Dataframes and pictures of what the engine returns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from patchgrid.api import Workspace, frame, heatmap
from patchgrid.core.errors import SpecError
from patchgrid.engine import Engine, Pair
from support.engine.cases import DEMO_PAIRS, Case, demo_case
from support.engine.models import DEMO_MODEL


@pytest.fixture(scope="module")
def case() -> Case:
    """Return the demo model and five of its pairs."""
    return demo_case()


def _image(figure: Any) -> Any:
    return figure.axes[0].images[0].get_array()


def test_a_frame_has_the_scores_of_a_job(case: Case, tmp_path: Any) -> None:
    """The same columns and numbers, a row a pair and component."""
    results = case.engine.attribute(case.pairs, sites="z,mlp_out", method="atp,relp")
    with Workspace(tmp_path / "jobs.db") as workspace:
        job = workspace.run(
            DEMO_PAIRS,
            model=DEMO_MODEL,
            limit=5,
            exact=0.1,
            method="atp,relp",
            progress=False,
            dtype="float32",
        )
        for method in ("atp", "relp"):
            mine, stored = frame(results, method=method), job.scores(method)
            both = mine.merge(stored, on=["component", "site", "layer"], suffixes=("", "_job"))
            assert len(mine) == len(stored) == 5 * (4 * 8 + 4)
            both = both[both["pair"].astype(int) == both["pair_job"].map(_row(stored))]
            assert len(both) == len(mine)
            np.testing.assert_allclose(both["score"], both["score_job"], atol=1e-5)


def _row(stored: pd.DataFrame) -> Callable[[str], int]:
    names = list(dict.fromkeys(stored["pair"]))
    return names.index


def test_a_frame_sums_over_positions(case: Case) -> None:
    """By hand, of one component; failed pairs have no rows."""
    bad = Pair("a", "a b c d", " Mary", " John")
    results = case.engine.attribute([bad, *case.pairs], sites="z,mlp_out")
    rows = frame(results, "z", frame="polars")
    assert isinstance(rows, pl.DataFrame)
    assert set(rows["pair"]) == {"1", "2", "3", "4", "5"}
    [score] = rows.filter((pl.col("pair") == "2") & (pl.col("component") == "a3.h5"))["score"]
    assert score == pytest.approx(results[2].scores["atp"]["z"][3, :, 5].sum(), abs=1e-6)


def test_edges_are_named_by_the_graph(case: Case) -> None:
    """And refused without it."""
    results = case.engine.attribute(case.pairs[:1], method="eap")
    with pytest.raises(SpecError, match=r"give graph=engine\.graph"):
        frame(results)
    rows = frame(results, graph=case.engine.graph)
    number = case.engine.graph.number_of("m0->m1")
    [score] = rows[rows["component"] == "m0->m1"]["score"]
    assert score == pytest.approx(results[0].scores["eap"]["edge"][number].sum(), abs=1e-6)
    with pytest.raises(SpecError, match="edges lie in no layer"):
        heatmap(results)


def test_heatmaps_show_the_mean_or_one_pair(case: Case) -> None:
    """Heads are summed over positions; positions are counted from the end, or are the pair's tokens."""
    results = case.engine.attribute(case.pairs, sites="z,mlp_out")
    heads = np.mean([each.scores["atp"]["z"].sum(axis=1) for each in results], axis=0)
    np.testing.assert_allclose(_image(heatmap(results)), heads, atol=1e-6)
    last = np.mean([each.scores["atp"]["mlp_out"][:, -1] for each in results], axis=0)
    np.testing.assert_allclose(_image(heatmap(results, "mlp_out"))[:, -1], last, atol=1e-6)
    one = heatmap(results, "mlp_out", pair=3, title="one")
    np.testing.assert_allclose(_image(one), results[3].scores["atp"]["mlp_out"], atol=1e-6)
    assert one.axes[0].get_title() == "one"
    assert one.axes[0].get_xlabel() == "token"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"site": "q"}, "unknown site of this call 'q'"),
        ({"method": "ig"}, "unknown method of this call 'ig'"),
        ({"pair": 9}, r"pair 9 is out of range or has no scores \(0 to 4\)"),
        ({"vmax": 0}, "vmax 0 is out of range"),
    ],
)
def test_what_a_call_did_not_have_is_refused(case: Case, options: dict[str, Any], message: str) -> None:
    """With what it had."""
    results = case.engine.attribute(case.pairs, sites="z")
    with pytest.raises(ValueError, match=message):
        heatmap(results, **options)


def test_results_without_scores_are_refused(case: Case) -> None:
    """Each pair says why it has none."""
    engine: Engine = case.engine
    with pytest.raises(SpecError, match="no pair has scores"):
        frame(engine.attribute([Pair("a", "a b c d", " Mary", " John")]))
