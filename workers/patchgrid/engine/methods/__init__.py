"""Ways to make a score, one a file; each is a function from a batch's unpatched runs to scores."""

from collections.abc import Mapping

from patchgrid.engine.methods import atp, atpstar
from patchgrid.engine.methods.base import Method

#: Every method by its name.
METHODS: Mapping[str, Method] = {"atp": atp.score, "atp*": atpstar.score}

__all__ = ["METHODS", "Method"]
