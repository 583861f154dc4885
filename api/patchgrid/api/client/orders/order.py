"""From pairs and settings, as a notebook has them, to an order that a backend takes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from patchgrid.api.client.orders.pair_input import pair_file
from patchgrid.api.client.orders.pair_warnings import warn_of_file
from patchgrid.core.names import check_name, model_name
from patchgrid.core.refinement import on_submit
from patchgrid.core.spec import JobSpec, job_settings
from patchgrid.storage.access.submitting import Order

_SPEC = ("model", *(each.name for each in job_settings()))
_FILE = ("limit", "columns")
_QUEUE = ("name", "key", "priority", "chunk_size")
_REFINE = ("exact_top", "certify", "confidence", "tolerance", "max_exact", "signed")


@contextmanager
def order_of(pairs: Any, settings: Mapping[str, Any]) -> Iterator[Order]:
    """Yield a checked order of pairs (a path, a list, a dataframe) under settings.

    `settings` are those of a job (`job_settings`), its `model`, the fields of `Order` beside it, `limit` and
    `columns`, and what to patch after the scores: `exact_top`, `certify` and its settings. Raises
    `SpecError`, `PairFileError` or `ColumnsError`.
    """
    for setting in settings:
        check_name("setting", setting, (*_SPEC, *_QUEUE, *_REFINE, *_FILE), setting)
    values = {name: settings[name] for name in _SPEC if name in settings}
    spec = JobSpec.from_dict(values | {"model": model_name(settings["model"])})
    asked = {name: settings[name] for name in _REFINE if settings.get(name) not in (None, False)}
    if asked.pop("signed", False):
        asked["ranking"] = "signed"
    refinements = on_submit(**asked)
    with pair_file(pairs, **{name: settings[name] for name in _FILE if name in settings}) as file:
        queue = {name: settings[name] for name in _QUEUE if name in settings}
        own_key = queue.pop("key", None)
        summary = file.check()
        warn_of_file(summary)
        yield Order(spec, file, summary, own_key=own_key, refinements=refinements, **queue)
