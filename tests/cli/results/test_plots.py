"""Pictures: what they hold and how they read."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text

from patchgrid.api.pictures.bars import component_bars
from patchgrid.api.pictures.errors import PictureError
from patchgrid.api.pictures.labels import LONGEST, drawable, elide, every, token_label
from patchgrid.api.pictures.look import Look
from patchgrid.api.pictures.plots import layer_head_heatmap, layer_position_heatmap
from patchgrid.api.pictures.saving import save
from patchgrid.api.pictures.scatter import score_effect_scatter
from patchgrid.estimates.verification.agreement import agreement
from patchgrid.storage.results.components import ComponentRow
from support.cli.pictures import PNG, UNIT, random_values


def _parts(figure: Figure) -> tuple[Axes, AxesImage]:
    axes = figure.axes[0]
    (image,) = axes.images
    return axes, image


def _ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def _overlap(figure: Figure, texts: Sequence[str]) -> int:
    """Count neighbouring tick labels that run into each other, as drawn."""
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) == len(texts)
    return sum(left.overlaps(right) for left, right in pairwise(boxes))


def test_a_heatmap_holds_the_values_with_layer_0_on_top() -> None:
    """Colours centred at 0, the colour bar in the metric's unit."""
    values = random_values(3, 5)
    figure = layer_head_heatmap(values, title="z of a job", unit=UNIT, quantity="estimate")
    axes, image = _parts(figure)
    np.testing.assert_array_equal(np.asarray(image.get_array()), values)
    assert image.get_clim() == (-np.abs(values).max(), np.abs(values).max())
    assert axes.get_ylim() == (2.5, -0.5)
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("z of a job", "head", "layer")
    assert figure.axes[1].get_ylabel() == f"estimate ({UNIT})"


def test_cells_without_a_value_are_grey_and_said_to_be() -> None:
    """NaN where nothing was sampled; infinity is no value either."""
    values = random_values(3, 3)
    values[1, 1], values[2, 2] = np.nan, np.inf
    figure = layer_head_heatmap(values, title="t", unit=UNIT)
    _, image = _parts(figure)
    array = image.get_array()
    assert array is not None
    assert np.argwhere(np.ma.getmaskarray(array)).tolist() == [[1, 1], [2, 2]]
    assert image.to_rgba(array)[1, 1, :3].tolist() == [0.75] * 3
    assert figure.axes[1].get_ylabel().endswith("grey: no value")


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_heatmap_without_any_effect_is_drawn(tmp_path: Path, value: float) -> None:
    """All zero, or nothing known."""
    save(layer_head_heatmap(np.full((4, 4), value), title="t", unit=UNIT), tmp_path / "t.png")
    assert (tmp_path / "t.png").read_bytes().startswith(PNG)


def test_small_tables_show_their_numbers_and_large_ones_do_not() -> None:
    """With a real minus sign, and none before zero; not where the numbers would be too long."""
    small = layer_head_heatmap([[0.5, -0.25], [-0.001, np.nan]], title="t", unit=UNIT)
    assert [text.get_text() for text in small.axes[0].texts] == ["0.50", "\N{MINUS SIGN}0.25", "0.00"]
    assert not layer_head_heatmap(random_values(12, 12), title="t", unit=UNIT).axes[0].texts
    assert not layer_head_heatmap([[1e-7, 2e-7]], title="t", unit=UNIT).axes[0].texts


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (4, 4), (12, 12), (32, 64), (80, 64), (96, 96)])
def test_heads_and_layers_are_labelled_without_crowding(layers: int, heads: int) -> None:
    """From one head to thousands: labels do not touch, and the picture stays of a size to be looked at."""
    figure = layer_head_heatmap(random_values(layers, heads), title="t", unit=UNIT)
    axes, image = _parts(figure)
    assert image.get_array() is not None
    shown = _ticks(axes)
    assert shown[0] == "0"
    assert len(axes.get_yticks()) <= 16
    assert _overlap(figure, shown) == 0
    assert max(figure.get_size_inches()) <= 20


@pytest.mark.parametrize("positions", [1, 5, 12, 18, 40, 100])
def test_every_token_is_labelled_up_to_a_hundred(positions: int) -> None:
    """Turned upright where they would run into each other."""
    tokens = [("<|endoftext|>", " Mary", "The", ",")[position % 4] for position in range(positions)]
    figure = layer_position_heatmap(random_values(12, positions), tokens, title="t", unit=UNIT)
    axes, image = _parts(figure)
    assert np.asarray(image.get_array()).shape == (12, positions)
    assert _ticks(axes) == [token_label(token) for token in tokens]
    assert _overlap(figure, tokens) == 0
    assert figure.get_size_inches()[0] <= 20


def test_of_very_many_positions_some_are_labelled() -> None:
    """At regular steps from the first."""
    tokens = [f"t{position}" for position in range(600)]
    figure = layer_position_heatmap(random_values(4, 600), tokens, title="t", unit=UNIT, axis="position")
    shown = _ticks(figure.axes[0])
    assert shown[:3] == ["t0", "t5", "t10"]
    assert _overlap(figure, shown) == 0
    assert figure.axes[0].get_xlabel() == "position"


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" Mary", "␣Mary"),
        ("Mary", "Mary"),
        ("  ", "␣␣"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("", "∅"),
        ("-3", "-3"),
        (" internationalisation", "␣internati…ation"),
    ],
)
def test_white_space_in_tokens_is_visible_and_long_ones_are_cut(token: str, label: str) -> None:
    """So that ` Mary` and `Mary` can be told apart."""
    assert token_label(token) == label
    assert len(label) <= LONGEST


def test_what_no_font_can_draw_is_written_as_its_code_point(tmp_path: Path) -> None:
    """Without a warning about missing glyphs, whatever is in a token or a title."""
    unassigned = "\u0378"
    assert drawable(f"a{unassigned}é") == r"a\u0378é"
    figure = layer_position_heatmap(
        [[1.0, 2.0]], [unassigned, "\x07"], title=f"{unassigned} \ud800", unit=UNIT
    )
    save(figure, tmp_path / "odd.png")
    assert figure.axes[0].get_title() == r"\u0378 \ud800"


def test_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    """matplotlib would read them as mathematics, and fail on these."""
    figure = layer_position_heatmap(
        random_values(2, 2), ["$x^$", r"$\frac$"], title=r"$\frac$", unit=r"$\frac$", axis="span"
    )
    save(figure, tmp_path / "money.svg")
    save(score_effect_scatter([1, 2], [1, 2], title=r"$\frac$", unit=r"$\frac$"), tmp_path / "more.svg")
    assert _ticks(figure.axes[0]) == ["$x^$", r"$\frac$"]


def test_no_axis_has_a_hyphen_for_a_minus() -> None:
    """Positions from the end, axes and colour bars, large and small; a token's hyphen stays one."""
    values = -1e-5 * np.abs(random_values(4, 4))
    rows = [_row(0, -1e-5, -2e-5, 1e-5), _row(1, 1e-5, None, None)]
    figures = [
        layer_position_heatmap(values, [-4, -3, -2, -1], title="t", unit=UNIT),
        score_effect_scatter(values, values, title="t", unit=UNIT),
        component_bars(rows, title="t", unit=UNIT),
    ]
    for figure in figures:
        figure.draw_without_rendering()
        texts = [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]
        assert any("\N{MINUS SIGN}" in text for text in texts)
        assert not [text for text in texts if "-" in text]
    assert _ticks(layer_position_heatmap(random_values(2, 1), ["-1"], title="t", unit=UNIT).axes[0]) == ["-1"]


@pytest.mark.parametrize(("layers", "heads"), [(30, 9), (80, 64), (12, 12)])
def test_heatmaps_of_real_models_fit_a_page(layers: int, heads: int) -> None:
    """At most a page high, cells near square, little around them."""
    figure = layer_head_heatmap(random_values(layers, heads), title="t", unit=UNIT)
    assert figure.get_size_inches()[1] <= 11
    figure.draw_without_rendering()
    box = figure.axes[0].get_window_extent()
    cell = box.width / heads / (box.height / layers)
    assert 1 <= cell <= 1.6
    assert box.height / figure.bbox.height > 0.75
    assert box.width / figure.bbox.width > 0.55


def test_the_scale_can_be_given() -> None:
    """Of colours, whose bar then shows that there is more; of bars; of both axes of a scatter."""
    bar = layer_head_heatmap([[1.0, -4.0]], title="t", unit=UNIT, vmax=2.0)
    assert bar.axes[0].images[0].get_clim() == (-2, 2)
    assert bar.axes[0].images[0].colorbar.extend == "both"  # type: ignore[union-attr]
    whole = layer_head_heatmap([[1.0, -4.0]], title="t", unit=UNIT, vmax=8.0)
    assert whole.axes[0].images[0].colorbar.extend == "neither"  # type: ignore[union-attr]
    bars = component_bars([_row(0, 0.5, 0.2, 0.8)], title="t", unit=UNIT, vmax=3.0).axes[0]
    assert bars.get_xlim() == pytest.approx((-3.15, 3.15))
    scatter = score_effect_scatter([1, 2], [1, 2], title="t", unit=UNIT, vmax=5.0).axes[0]
    assert scatter.get_xlim() == scatter.get_ylim() == (-5, 5)
    for vmax in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(PictureError, match="give a number above 0"):
            Look(vmax=vmax)


def test_long_titles_are_wrapped() -> None:
    """To the picture's width."""
    figure = layer_head_heatmap(random_values(4, 4), title="a title of many words " * 8, unit=UNIT)
    figure.draw_without_rendering()
    box = figure.axes[0].title.get_window_extent()
    assert "\n" in figure.axes[0].get_title()
    assert box.width <= figure.bbox.width


def test_a_scatter_holds_the_points_the_line_of_equality_and_the_weighted_fit() -> None:
    """Fit and r are those of the agreement shown elsewhere; a point's area goes by its weight."""
    random = np.random.default_rng(1)
    scores = random.normal(size=300)
    effects = 0.5 * scores + 0.1 * random.normal(size=300) - 0.2
    inclusion = random.uniform(0.2, 1, size=300)
    figure = score_effect_scatter(scores, effects, inclusion, title="z", unit=UNIT)
    (axes,) = figure.axes
    (points,) = axes.collections
    found = agreement(scores, effects, inclusion)
    line = f"{found.slope:.3g} score \N{MINUS SIGN} {-found.intercept:.3g}"
    np.testing.assert_array_equal(points.get_offsets(), np.column_stack([scores, effects]))
    assert isinstance(points, PathCollection)
    sizes = points.get_sizes()
    assert np.all(np.diff(sizes[np.argsort(inclusion)]) <= 0)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "300 exact effects (area: weight)",
        "effect = score",
        f"weighted fit: effect = {line}, r = {found.pearson:.3f}",
    ]
    slopes = [drawn.get_slope() for drawn in axes.lines if hasattr(drawn, "get_slope")]
    assert slopes == [1, pytest.approx(found.slope)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (f"score ({UNIT})", f"exact effect ({UNIT})")


def test_equality_is_the_diagonal_of_a_scatter() -> None:
    """Both axes have one scale, whatever the points; the legend lies beside them."""
    figure = score_effect_scatter([0.1, 0.2, -0.1], [5, 9, -2], title="t", unit=UNIT)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    box, legend = axes.get_window_extent(), axes.get_legend()
    assert axes.get_xlim() == axes.get_ylim()
    assert box.width == pytest.approx(box.height)
    assert legend is not None
    assert not legend.get_window_extent().overlaps(box)


def test_named_points_are_labelled_apart_from_each_other() -> None:
    """Within the axes; one that is not finite loses its place to none of the others."""
    random = np.random.default_rng(2)
    x = np.concatenate([[np.nan], random.normal(size=400), [3.0, 3.01, 3.02, 3.03]])
    names = {index: f"a{index}.h1" for index in (0, 401, 402, 403, 404, 5)}
    figure = score_effect_scatter(x, x, title="t", unit=UNIT, names=names)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    labels = [text for text in axes.texts if text.get_text()]
    assert {label.get_text() for label in labels} == set(names.values()) - {"a0.h1"}
    points = {label.get_text(): label.xy[0] for label in labels}  # type: ignore[attr-defined]
    assert points == {names[index]: x[index] for index in names if index}
    boxes = [Text.get_window_extent(label) for label in labels]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_a_scatter_without_weights_is_a_plain_fit() -> None:
    """All cells patched; points that are not finite are left out."""
    figure = score_effect_scatter([0, 1, 2, np.nan, 5], [1, 3, 5, 1, np.inf], title="t", unit=UNIT)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "3 exact effects",
        "effect = score",
        "fit: effect = 2 score + 1, r = 1.000",
    ]


@pytest.mark.parametrize(
    ("scores", "effects"), [([], []), ([0.1], [0.2]), ([1, 1], [2, 3]), ([0, 0], [0, 0])]
)
def test_a_scatter_of_too_few_points_for_a_fit_is_drawn(
    tmp_path: Path, scores: list[float], effects: list[float]
) -> None:
    """None, one, or no spread."""
    figure = score_effect_scatter(scores, effects, title="t", unit=UNIT)
    save(figure, tmp_path / "few.png")
    assert (tmp_path / "few.png").stat().st_size > 1000
    assert not any("fit" in str(line.get_label()) for line in figure.axes[0].lines)


def _row(neuron: int, estimate: float, low: float | None, high: float | None) -> ComponentRow:
    figures = {
        "n": 20,
        "mean": estimate,
        "mean_abs": abs(estimate),
        "std": 0.1,
        "exact_n": 2,
        "shrunk": False,
    }
    place = {"site": "mlp_post", "layer": 0, "index": neuron, "position": None}
    return ComponentRow(**place, **figures, estimate=estimate, ci_low=low, ci_high=high)  # type: ignore[arg-type]


def _arrows(axes: Axes) -> dict[str, list[int]]:
    """Return the bars whose intervals extend beyond the axis, by their arrows."""
    found = {line.get_marker(): list(line.get_ydata()) for line in axes.lines}  # type: ignore[arg-type]
    return {str(marker): found[marker] for marker in ("<", ">")}  # type: ignore[misc]


def test_one_interval_of_few_cells_leaves_the_bars_their_length() -> None:
    """The scale goes by the bars; where an interval is longer, an arrow says that it goes on."""
    rows = [
        _row(0, 0.5, -1e59, 1e59),
        _row(1, 0.4, 0.3, 0.5),
        _row(2, -0.3, -9.0, 0.1),
        _row(3, 0.2, None, None),
    ]
    axes = component_bars(rows, title="mlp_post of a job", unit=UNIT).axes[0]
    low, high = axes.get_xlim()
    assert high == -low < 4 * 0.5
    assert _arrows(axes) == {"<": [0, 2], ">": [0]}
    assert axes.get_xlabel().endswith("an arrow: it extends further")


def test_bars_say_theirrandom_values() -> None:
    """All to one place, with their signs; the mean score where there is no estimate."""
    rows = [_row(0, 1.5, 1.0, 2.0), _row(1, -0.25, None, None)]
    axes = component_bars(rows, title="t", unit=UNIT).axes[0]
    assert [text.get_text() for text in axes.texts] == ["+1.50", "\N{MINUS SIGN}0.25"]


def test_intervals_that_fit_have_no_arrows() -> None:
    """Nothing is cut, and nothing is said of it."""
    axes = component_bars([_row(0, 0.5, 0.2, 0.8)], title="mlp_post of a job", unit=UNIT).axes[0]
    assert _arrows(axes) == {"<": [], ">": []}
    assert "arrow" not in axes.get_xlabel()


def test_colours_are_told_apart_with_every_kind_of_colour_blindness() -> None:
    """Positive and negative differ in blue against red, and size in lightness, on both sides of white."""
    _, image = _parts(layer_head_heatmap([[-1.0, 0.0, 1.0]], title="t", unit=UNIT))
    assert isinstance(image.norm, Normalize)
    negative, none, positive = image.to_rgba(np.array([-0.7, 0.0, 0.7]))[:, :3]
    assert negative[2] - negative[0] > 0.3
    assert positive[0] - positive[2] > 0.3
    assert none.min() > 0.9


@pytest.mark.parametrize(
    ("count", "most", "step"), [(4, 16, 1), (16, 16, 1), (17, 16, 2), (64, 16, 4), (80, 16, 5)]
)
def test_ticks_come_at_round_steps(count: int, most: int, step: int) -> None:
    """The smallest step that leaves few enough."""
    assert every(count, most) == step
    assert len(range(0, count, step)) <= most


def test_the_middle_of_a_long_text_is_cut() -> None:
    """Beginning and end tell most."""
    assert elide("abcdefghij", 10) == "abcdefghij"
    assert elide("abcdefghijk", 10) == "abcdef…ijk"
