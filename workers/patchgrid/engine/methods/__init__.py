"""Ways to make a score, one a file; each is a function from a batch's unpatched runs to scores."""

from collections.abc import Mapping

from patchgrid.engine.methods import atp, eap, eap_ig
from patchgrid.engine.methods.base import Method

#: Every method by its name.
METHODS: Mapping[str, Method] = {"atp": atp.score, "eap": eap.score, "eap-ig": eap_ig.score}

__all__ = ["METHODS", "Method"]
