"""Metrics of installed packages: found by their entry points, checked, used like patchgrid's own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.engine.cases import Case

CaseOf = Callable[[str], Case]

#: A package's module.
MODULE = """
import torch
from patchgrid.engine.runs.metrics import Metric, logit_diff

def margin(logits, answers, clean):
    first = answers.correct[:, :1]
    others = logits.scatter(1, first, float("-inf")).amax(-1)
    return logits.gather(1, first)[:, 0] - others

twice = Metric(lambda *given: 2 * logit_diff(*given), reads_answers_only=True)
surprise = Metric(lambda logits, _, clean: -(clean.exp() * logits.log_softmax(-1)).sum(-1), needs_clean=True)

def averaged(logits, answers, clean):
    return logit_diff(logits, answers, clean).mean().expand(len(logits))

greedy = Metric(lambda logits, answers, _: logits.amax(-1), reads_answers_only=True)

def one_number(logits, answers, clean):
    return logits.sum()

def detached(logits, answers, clean):
    return logits.detach().amax(-1)

def infinite(logits, answers, clean):
    return logits.amax(-1) / 0

def broken(logits, answers, clean):
    return logits.gather(1, answers.nothing)

text = "no metric"
"""
GOOD, BAD = ("margin", "twice", "surprise"), ("averaged", "greedy", "one_number", "detached", "infinite")
NAMES = (*GOOD, *BAD, "broken", "text", "absent", "logit_diff")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay a distribution out as pip does: its module, and its metadata with entry points."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "own_metrics.py").write_text(MODULE)
    for name, points in (
        ("own-metrics", NAMES),
        ("other-metrics", ["doubled"]),
        ("same-metrics", ["doubled"]),
    ):
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = own_metrics:{point}" for point in points]
        (info / "entry_points.txt").write_text("\n".join(["[patchgrid.metrics]", *lines]))
    return folder


@pytest.fixture(scope="module")
def said(case_of: CaseOf, installed: Path) -> dict[str, object]:
    """Measure with each metric in a process that has the package; metric to numbers or the refusal."""
    case = case_of("gpt2")
    script = """
    import json, sys
    import numpy as np
    from patchgrid.core import names
    from patchgrid.engine import Engine, Pair, Component
    from patchgrid.core.errors import SpecError

    folder, pairs = sys.argv[1], [Pair(*pair) for pair in json.loads(sys.argv[2])]
    engine = Engine.load(folder, device="cpu", dtype="float32")
    said = {"known": names.metrics()}
    for name in ["logit_diff", "kl", *names.metrics()[4:]]:
        try:
            results = engine.attribute(pairs, metric=name, sites=("z",))
            effects = engine.patch(pairs, [Component("z", 1)], metric=name)
            said[name] = [
                [each.clean_metric, each.corrupted_metric, float(np.nansum(scores)), float(effect[0])]
                for each, scores, effect in zip(results, results.scores["atp"]["z"], effects)
            ]
        except SpecError as error:
            said[name] = str(error)
    print(json.dumps(said))
    """
    pairs = [(pair.clean, pair.corrupted, pair.correct, pair.incorrect) for pair in case.pairs]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(case.model.folder), json.dumps(pairs)],
        env=os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_all_are_known_by_name_without_being_loaded(said: dict[str, object]) -> None:
    """Our own first; those that cannot be used are told apart when they are asked for."""
    expected = sorted({*NAMES, "doubled"} - {"logit_diff"})
    assert said["known"] == ["logit_diff", "logprob", "prob_diff", "kl", *expected]


def test_an_installed_metric_is_measured_like_our_own(said: dict[str, object]) -> None:
    """Of answers alone, of the whole vocabulary, and against the clean run."""
    own, twice = np.array(said["logit_diff"]), np.array(said["twice"])
    np.testing.assert_allclose(twice, 2 * own, rtol=1e-5, atol=1e-6)
    assert np.isfinite(np.array(said["margin"])).all()
    surprise, kl = np.array(said["surprise"]), np.array(said["kl"])
    entropy = surprise[:, 0]
    np.testing.assert_allclose(surprise[:, 1] - entropy, kl[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(surprise[:, 2:], kl[:, 2:], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("averaged", "a pair's value must not depend on the other pairs of its batch"),
        ("greedy", "for example through logits other than its answers'"),
        ("one_number", r"for 3 pairs it must return a tensor of shape [3], not []"),
        ("detached", "is not differentiable"),
        ("infinite", "must return finite numbers"),
        ("broken", "raised AttributeError: 'Answers' object has no attribute 'nothing'"),
        ("text", "is neither a function nor"),
        ("absent", "loading own_metrics:absent raised AttributeError"),
    ],
)
def test_a_metric_that_breaks_the_rules_is_refused(said: dict[str, object], metric: str, reason: str) -> None:
    """With the package's name, and what is wrong with what it gave."""
    told = str(said[metric])
    assert told.startswith(f"metric {metric!r} of own-metrics is not valid: ")
    assert reason in told


def test_a_name_that_two_packages_give_is_refused(said: dict[str, object]) -> None:
    """Which one is meant depends on nothing that anyone chose."""
    assert (
        said["doubled"]
        == "metric 'doubled' is provided by other-metrics and same-metrics: uninstall all but one"
    )
