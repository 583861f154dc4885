"""Whether a model can give what is asked of it."""

from patchgrid.core.errors import SpecError
from patchgrid.core.query import Asked
from patchgrid.engine.checks.softmax_check import refuse
from patchgrid.engine.methods import check_method
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.metric_plugins import find_metric


def check_allowed(model: LoadedModel, asked: Asked) -> None:
    """Raise `SpecError`, which names what is missing and what would work, for what the model cannot give."""
    if not asked.sites:
        raise SpecError(f"no site given; available: {', '.join(model.layout.sites)}", "sites")
    asked.check()
    model.layout.check_sites(asked.sites)
    find_metric(asked.metric)
    for method in asked.methods:
        check_method(method, model)
    if "atp*" in asked.methods:
        refuse(model.layout, asked.sites, grad_drop=asked.grad_drop)
