"""Scoring methods, one a file; each is a function from a batch's unpatched runs to scores."""

from collections.abc import Mapping

from torch import Tensor

from patchgrid.core.methods import EAP, EAPIG, IG, AtP, AtPStar, Method, RelP
from patchgrid.core.query import Query
from patchgrid.engine.methods import atp, atpstar, eap, eap_ig, ig, relp
from patchgrid.engine.methods.base import Requirement, Score
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.passes import Passes

#: What computes each method's scores.
SCORES: Mapping[type[Method], Score] = {
    AtP: atp.score,
    AtPStar: atpstar.score,
    IG: ig.score,
    RelP: relp.score,
    EAP: eap.score,
    EAPIG: eap_ig.score,
}
#: What methods need of a model, beyond its sites.
REQUIREMENTS: Mapping[type[Method], Requirement] = {AtPStar: atpstar.check, RelP: relp.check}


def score(passes: Passes, method: Method) -> Mapping[str, Tensor]:
    """Score a batch by a method: see `base.Score`."""
    return SCORES[type(method)](passes, method)


def check_methods(model: LoadedModel, query: Query) -> None:
    """Raise `SpecError`, which names what is missing, where a model does not support a query's methods."""
    for method in query.methods:
        if type(method) in REQUIREMENTS:
            REQUIREMENTS[type(method)](model, query, method)


__all__ = ["SCORES", "check_methods", "score"]
