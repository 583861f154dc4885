"""From pairs and settings, as a notebook has them, to an order that a backend takes."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from patchgrid.api.client.engines import model_name
from patchgrid.api.client.pair_input import pair_file
from patchgrid.core.errors import SpecError
from patchgrid.core.names import check_name
from patchgrid.core.query import as_names
from patchgrid.core.types import JobSpec
from patchgrid.storage.access.submitting import Order

_SPEC = tuple(field.name for field in dataclasses.fields(JobSpec))
_FILE = ("limit", "columns")
_QUEUE = ("name", "key", "priority", "chunk_size")


@contextmanager
def order_of(pairs: Any, settings: Mapping[str, Any]) -> Iterator[Order]:
    """Give the order of pairs (a path, a list, a dataframe) under settings, checked.

    `settings` are the fields of `JobSpec` and those of `Order` beside it, `limit` and `columns`. Raises
    `SpecError`, `PairFileError` or `ColumnsError`.
    """
    for setting in settings:
        check_name("setting", setting, (*_SPEC, *_QUEUE, *_FILE), setting)
    spec = _spec({name: settings[name] for name in _SPEC if name in settings})
    with pair_file(pairs, **{name: settings[name] for name in _FILE if name in settings}) as file:
        queue = {name: settings[name] for name in _QUEUE if name in settings}
        own_key = queue.pop("key", None)
        yield Order(spec, file, file.check(), own_key=own_key, **queue)


def _spec(values: dict[str, Any]) -> JobSpec:
    try:
        values["model"] = model_name(values["model"])
        for name in ("sites", "method"):
            if name in values:
                values[name] = as_names(values[name])
        return JobSpec(**values)
    except TypeError as error:
        raise SpecError(f"invalid setting: {error}") from None
