"""Ways to make a score, one a file; each is a function from a batch to `BatchScores`."""

from collections.abc import Mapping

from patchgrid.engine.methods import atp
from patchgrid.engine.methods.base import BatchScores, Method, Question

#: Every method by its name.
METHODS: Mapping[str, Method] = {"atp": atp.score}

__all__ = ["METHODS", "BatchScores", "Method", "Question"]
