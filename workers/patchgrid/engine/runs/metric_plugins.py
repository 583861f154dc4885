"""Metrics by name: built-in ones, and those of installed packages, which are validated before use."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import torch
from torch import Tensor

from patchgrid.core import names
from patchgrid.core.errors import SpecError
from patchgrid.engine.runs.metrics import METRICS, Answers, Metric

#: Entries of the logits that a metric is tried on.
_ENTRIES = 11
#: Largest difference, relative to the value, between a pair alone and among others.
_ALLOWED = 1e-6


@cache
def find_metric(name: str) -> Metric:
    """Return a metric by name.

    Raises
    ------
    SpecError
        No such metric, or a package's own that cannot be loaded or breaks the rules of `docs/metrics.md`:
        the package and what is wrong with it are named.
    """
    own = METRICS.get(name)
    if own is not None:
        return own
    names.check_name("metric", name, names.metrics(), "metric")
    points = [point for point in entry_points(group=names.METRIC_GROUP) if point.name == name]
    if len(points) > 1:
        packages = " and ".join(sorted(_package(point) for point in points))
        raise SpecError(f"metric {name!r} is provided by {packages}: uninstall all but one", "metric")
    return _load(points[0])


def _package(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else str(point.dist.name)


def _load(point: EntryPoint) -> Metric:
    wrong = f"metric {point.name!r} of {_package(point)} is not valid"
    try:
        loaded = point.load()
    except Exception as error:
        raise SpecError(f"{wrong}: loading {point.value} raised {_said(error)}", "metric") from error
    metric = loaded if isinstance(loaded, Metric) else Metric(loaded) if callable(loaded) else None
    if metric is None:
        raise SpecError(
            f"{wrong}: {point.value} is neither a function nor a patchgrid.engine.runs.metrics.Metric",
            "metric",
        )
    try:
        reason = _wrong(metric)
    except Exception as error:
        raise SpecError(
            f"{wrong}: on logits of {_ENTRIES} entries it raised {_said(error)}", "metric"
        ) from error
    if reason is not None:
        raise SpecError(f"{wrong}: {reason}", "metric")
    return metric


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _wrong(metric: Metric) -> str | None:
    """Test a metric on three pairs together and alone; return its error, if any."""
    draws = torch.Generator().manual_seed(0)
    logits, clean = (torch.randn(3, _ENTRIES, generator=draws, dtype=torch.float64) for _ in range(2))
    logits.requires_grad_()
    correct, incorrect = [[1, 2], [3], [4]], [[5], [6, 7], [8]]
    with torch.enable_grad():
        together = _value(metric, logits, clean, correct, incorrect)
    if not isinstance(together, Tensor) or together.shape != (3,):
        shape = list(together.shape) if isinstance(together, Tensor) else type(together).__name__
        return f"for 3 pairs it must return a tensor of shape [3], not {shape}"
    if not together.is_floating_point() or not bool(together.isfinite().all()):
        return f"it must return finite numbers, not {together.tolist()}"
    if not together.requires_grad:
        return "it is not differentiable: its value does not depend on the logits through torch functions"
    [gradient] = torch.autograd.grad(together[0], logits)
    if not bool(gradient.isfinite().all()):
        return "its gradient is not finite"
    alone = [_alone(metric, logits[row], clean[row], correct[row], incorrect[row]) for row in range(3)]
    apart = float((torch.cat(alone) - together).abs().max().detach())
    if apart > _ALLOWED * max(1.0, float(together.abs().max().detach())) or bool(gradient[1:].any()):
        what = "logits other than its answers'" if metric.reads_answers_only else "a sum or mean over them"
        return f"a pair's value must not depend on the other pairs of its batch, for example through {what}"
    return None


def _alone(
    metric: Metric, logits: Tensor, clean: Tensor, correct: Sequence[int], incorrect: Sequence[int]
) -> Tensor:
    """Measure one pair by itself: where that is all it reads, its answers' logits and no others."""
    read = [*correct, *incorrect] if metric.reads_answers_only else [*range(_ENTRIES)]
    places = [[read.index(token) for token in tokens] for tokens in (correct, incorrect)]
    return _value(metric, logits[None, read], clean[None], [places[0]], [places[1]])


def _value(
    metric: Metric,
    logits: Tensor,
    clean: Tensor,
    correct: Sequence[Sequence[int]],
    incorrect: Sequence[Sequence[int]],
) -> Tensor:
    answers = Answers.of(correct, incorrect, logits.device)
    return metric.function(logits, answers, clean.log_softmax(-1) if metric.needs_clean else None)
