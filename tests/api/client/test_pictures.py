"""The client's pictures."""

import io
from typing import Any

import matplotlib.pyplot as plt
import pytest

from patchgrid.api import Job
from patchgrid.core.errors import PatchgridError, SpecError


def test_pictures_are_figures_that_notebooks_show(job: Job) -> None:
    """Of their own, or on axes that are given."""
    figure = job.plot()
    assert "z, atp, logit_diff" in figure.axes[0].get_title()
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert job.plot("positions", "mlp_out", pair="pair-3").axes[0].get_xlabel() == "token"
    outer, (left, right) = plt.subplots(1, 2)
    assert job.plot(ax=left) is outer
    assert job.plot("positions", ax=right) is outer
    assert left.images
    assert right.images
    outer.savefig(io.BytesIO())
    plt.close(outer)
    with pytest.raises(PatchgridError, match="has no heads"):
        job.plot("heads", "mlp_out")
    with pytest.raises(SpecError, match="picture"):
        job.plot("edges")
    with pytest.raises(PatchgridError, match="ax works with heads, positions and exact"):
        job.plot("top", ax=left)


def test_pictures_look_as_they_are_asked_to(job: Job) -> None:
    """Every kind of them has a title, a scale, and dots an inch."""
    kinds: list[dict[str, Any]] = [{"what": what} for what in ("heads", "positions", "scatter", "top")]
    for options in (*kinds, {"what": "heads", "pair": 3}, {"what": "exact", "pair": 3}):
        figure = job.plot(**options, title="mine", vmax=0.5, dpi=50)
        axes = figure.axes[0]
        assert axes.get_title() == "mine", options
        high = axes.images[0].get_clim()[1] if axes.images else axes.get_xlim()[1]
        assert high == pytest.approx(0.525 if options["what"] == "top" else 0.5), options
        assert figure.dpi == 50


def test_the_strongest_components_are_those_of_top(job: Job) -> None:
    """Of all sites together, as the table ranks them; of one where it is named."""
    for site in (None, "mlp_out"):
        axes = job.plot("top", site).axes[0]
        names = [row["component"] for row in job.top(30, site=site, frame="polars").to_dicts()]
        assert [label.get_text() for label in axes.get_yticklabels()] == names
