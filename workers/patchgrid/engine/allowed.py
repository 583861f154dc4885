"""Whether a model supports a query."""

from patchgrid.core.query import Query
from patchgrid.engine.methods import check_methods
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.metric_plugins import find_metric


def check_supported(model: LoadedModel, query: Query) -> None:
    """Raise `SpecError`, which says what would work, for what the model does not have."""
    model.layout.check_sites(query.sites)
    if not callable(query.metric):
        find_metric(query.metric)
    check_methods(model, query)
