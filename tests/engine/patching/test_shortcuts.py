"""Computing less gives the same numbers: each shortcut on against off, and what each of them saves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from patchgrid.core.names import DIRECTIONS
from patchgrid.engine import Component, Engine, Pair
from patchgrid.engine.model.head import Head
from patchgrid.engine.model.shortcuts import Shortcuts
from support.engine.cases import ROUNDING, Case, assert_close
from support.engine.models import EVERY, each
from support.engine.shapes import FURTHER

CaseOf = Callable[[str], Case]
SHORTCUTS = tuple(field.name for field in fields(Shortcuts))
#: What each family's own code does not allow.
NOT_ALLOWED = {
    "opt": {"last_block"},  # the MLP sees positions flattened
    "opt_projected": {"last_block"},
    "llama4_text": {"last_block"},  # as its experts do
    "granitemoeshared": {"last_block"},  # two modules read what the MLP does
    "bloom": {"attention"},  # attention gives the stream it was added to
}
#: 16 tokens that the prompts of all these pairs begin with.
PREAMBLE = "When Mary and John went to the shop, John gave a ball to Mary and"
PREAMBLED = [
    Pair(PREAMBLE + " then Mary", PREAMBLE + " then John", " and", " to"),
    Pair(PREAMBLE + " Anna took the ball", PREAMBLE + " Paul took the ball", " to", " in"),
    Pair(PREAMBLE + " the cat", PREAMBLE + " the dog", " was", " said"),
]


@pytest.mark.parametrize("family", [*EVERY, "demo_model"])
def test_every_family_takes_all_shortcuts_that_its_code_allows(case_of: CaseOf, family: str) -> None:
    """Found by trying on load; one that a family cannot take is known by name."""
    taken = {name for name in SHORTCUTS if getattr(case_of(family).engine.shortcuts, name)}
    assert taken == set(SHORTCUTS) - NOT_ALLOWED.get(family, set())


def components_of(case: Case) -> list[Component]:
    """Return components of every site in the first and the last block, whole and at some positions."""
    layers = (0, case.layers - 1)
    whole = [Component(site, layer) for site in case.sites for layer in layers]
    last = [Component(site, layer, position=-1) for site in case.sites for layer in layers]
    before = [Component(site, layer, position=(-2, -3)) for site in case.sites for layer in layers]
    return [*whole, *last, *before, Component("z", 0, 1), Component("z", case.layers - 1, 0, position=-1)]


@pytest.mark.parametrize(
    ("family", "direction"),
    [*each(list(DIRECTIONS), ["denoise"]), *(("demo_model", direction) for direction in DIRECTIONS)],
)
def test_each_shortcut_changes_no_number(case_of: CaseOf, family: str, direction: str) -> None:
    """Scores, metrics and effects of the long way, to 1e-5.

    Denoising by each shortcut alone, noising by all but each; of most families by all together, which go
    the same ways.
    """
    case = case_of(family)
    allowed = case.engine.shortcuts
    times = 1 if family in FURTHER else 2
    pairs = [pair for pair in case.pairs if len(pair.clean.split()) > 2] * times
    components = components_of(case)
    options: dict[str, Any] = {"direction": direction, "metric": "logprob", "batch_tokens": 150}
    plain = case.engine.with_shortcuts(Shortcuts.none())
    scores, effects = measured(plain, pairs, components, case.sites, options)
    taken = [field for field in SHORTCUTS if getattr(allowed, field)]
    if direction == "denoise":
        trials = [(f"{name} alone", replace(Shortcuts.none(), **{name: True})) for name in taken]
    else:
        trials = [(f"all but {name}", replace(allowed, **{name: False})) for name in taken]
    for name, shortcuts in [("all", allowed)] if family in FURTHER else trials:
        engine = case.engine.with_shortcuts(shortcuts)
        found, found_effects = measured(engine, pairs, components, case.sites, options)
        for site, expected in scores.items():
            assert_close(found[site], expected, 1e-5, f"{name}, {site}", floor=ROUNDING)
        assert_close(found_effects, effects, 1e-5, f"{name}, effects", floor=ROUNDING)


def measured(
    engine: Engine,
    pairs: Sequence[Pair],
    components: Sequence[Component],
    sites: Sequence[str],
    options: dict[str, Any],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Score and patch pairs in one call; all scores of a site in one row, and the effects in another."""
    chosen = [[component for component in components if fits(component, pair, engine)] for pair in pairs]
    found = engine.measure(
        pairs, lambda places, _: [chosen[place] for place in places], sites=sites, **options
    )
    assert all(each.error is None for each in found)
    scores = {
        site: np.concatenate([each.result.scores["atp"][site].ravel() for each in found]) for site in sites
    }
    metrics = [[each.result.clean_metric, each.result.corrupted_metric] for each in found]
    return scores | {"metrics": np.ravel(metrics)}, np.concatenate([each.effects for each in found])


def fits(component: Component, pair: Pair, engine: Engine) -> bool:
    """Tell whether a pair has the component's positions."""
    length = len(engine._model.tokenizer(pair.clean).input_ids)
    return not isinstance(component.position, tuple) or length > 3


@contextmanager
def embedded(engine: Engine) -> Iterator[list[int]]:
    """Note how many tokens, padding included, each forward pass runs."""
    counts: list[int] = []

    def count(_module: object, args: tuple[Any, ...]) -> None:
        counts.append(args[0].numel())

    embedding = engine._model.envoy._module.get_input_embeddings()
    handle = embedding.register_forward_pre_hook(count)
    try:
        yield counts
    finally:
        handle.remove()


def test_what_lies_before_the_first_difference_is_computed_once(case_of: CaseOf) -> None:
    """Of a pair of 11 tokens that differs in its last two, 11 and 2 are computed, not 22."""
    case = case_of("gpt2")
    clean = "When Mary and John went to the shop, John gave"
    pair = Pair(clean, clean.replace(", John", ", Mary"), " to", " the")
    with embedded(case.engine) as counts:
        [result] = case.engine.attribute([pair])
    assert counts == [11, 2]
    assert not result.scores["atp"]["z"][:, :9].any()


def test_a_beginning_that_prompts_share_is_computed_once(case_of: CaseOf) -> None:
    """Within a call and in the next one; the numbers are those without."""
    case = case_of("gpt2")
    engine = case.engine.with_shortcuts(case.engine.shortcuts)
    without = case.engine.with_shortcuts(replace(case.engine.shortcuts, repeats=False))
    with embedded(engine) as counts:
        found = engine.attribute(PREAMBLED, sites=case.sites, batch_tokens=1000)
        again = engine.attribute(PREAMBLED, sites=case.sites, batch_tokens=1000)
    first, second = counts[: len(counts) // 2 + 1], counts[len(counts) // 2 + 1 :]
    assert first[0] == 16
    assert first[1:] == second
    for result, repeated, expected in zip(
        found, again, without.attribute(PREAMBLED, sites=case.sites), strict=True
    ):
        for site, scores in expected.scores["atp"].items():
            assert_close(result.scores["atp"][site], scores, 1e-5, site)
            np.testing.assert_array_equal(repeated.scores["atp"][site], result.scores["atp"][site])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_prompt_of_many_pairs_is_computed_once(case_of: CaseOf, direction: str) -> None:
    """One clean prompt with several corruptions: a row for it, and one for each of them."""
    case = case_of("llama")
    clean = "When Mary and John went to the shop, John gave"
    others = ["Anna", "Tom", "Mary"]
    pairs = [Pair(clean, clean.replace(", John", f", {name}"), " to", " the") for name in others]
    with embedded(case.engine) as counts:
        found = case.engine.attribute(pairs, sites=case.sites, direction=direction)
    without = case.engine.with_shortcuts(replace(case.engine.shortcuts, repeats=False))
    with embedded(without) as all_counts:
        expected = without.attribute(pairs, sites=case.sites, direction=direction)
    assert sum(counts) < sum(all_counts)
    assert counts[denoising(direction)] * 3 == all_counts[denoising(direction)]
    for result, plain in zip(found, expected, strict=True):
        for site, scores in plain.scores["atp"].items():
            assert_close(result.scores["atp"][site], scores, 1e-5, site)


def denoising(direction: str) -> int:
    """Return the index of the clean run in a batch's two."""
    return 0 if direction == "denoise" else 1


def test_the_vocabulary_is_left_alone_where_the_metric_reads_the_answers_only(
    case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`logit_diff` needs no logits but the answers', which no whole projection is made for."""
    engine = case_of("gpt2").engine
    pairs = case_of("gpt2").pairs[:1]
    made = Head.all
    rows: list[int] = []

    def note(head: Head, last: Any) -> Any:
        rows.append(len(last))
        return made(head, last)

    monkeypatch.setattr(Head, "all", note)
    for metric, whole in (("logit_diff", False), ("prob_diff", True)):
        rows.clear()
        engine.patch(pairs, [Component("z", 0)], metric=metric)
        assert bool(rows) == whole, metric
