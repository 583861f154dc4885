"""Silencing other libraries while a model is loaded."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """Silence transformers, the hub and Python's warnings; download bars stay."""
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import enable_progress_bars
    from transformers.utils import logging

    before, hub_before = logging.get_verbosity(), hub_logging.get_verbosity()
    had_bar = logging.is_progress_bar_enabled()
    # Its pipelines log an error for every multimodal model.
    logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()
    enable_progress_bars()  # those of downloads, which transformers switches off with its own
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        hub_logging.set_verbosity(hub_before)
        if had_bar:
            logging.enable_progress_bar()
