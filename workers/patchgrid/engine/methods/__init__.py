"""Ways to make a score, one a file; each is a function from a batch's unpatched runs to scores."""

from collections.abc import Mapping

from patchgrid.core.errors import SpecError
from patchgrid.engine.methods import atp, atpstar, eap, eap_ig, ig, relp
from patchgrid.engine.methods.base import Method, Requirement
from patchgrid.engine.model.loading import LoadedModel

#: Every method by its name.
METHODS: Mapping[str, Method] = {
    "atp": atp.score,
    "atp*": atpstar.score,
    "ig": ig.score,
    "relp": relp.score,
    "eap": eap.score,
    "eap-ig": eap_ig.score,
}
#: What methods need of a model, beyond its sites.
REQUIREMENTS: Mapping[str, Requirement] = {"relp": relp.check}


def check_method(name: str, model: LoadedModel) -> None:
    """Raise `SpecError`, which names what is missing, where a model does not allow a method."""
    if name not in METHODS:
        raise SpecError(f"unknown method {name!r}; available: {', '.join(METHODS)}", "method")
    if name in REQUIREMENTS:
        REQUIREMENTS[name](model)


__all__ = ["METHODS", "Method", "check_method"]
