"""Naming and loading a model to measure with in this process."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchgrid.core.errors import ModelError
from patchgrid.core.packages import require
from patchgrid.engine.checkpoint.disk_cache import cache_folder
from patchgrid.engine.checkpoint.quiet import quietly

if TYPE_CHECKING:
    from patchgrid.engine import Engine


def check_model(model: str) -> None:
    """Refuse a folder that is named relative to here and is not here: nobody could find it."""
    if model.startswith((".", "~")):
        raise ModelError(f"no model folder at {model}")


def load_engine(
    name: str,
    *,
    revision: str | None,
    device: str,
    dtype: str,
    recheck: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> "Engine":
    """Load a model and say what it is; `recheck` repeats its checks even if their results are cached."""
    require("model", "running a model")
    local = Path(name).is_dir()
    path = local or Path(name).is_absolute() or name.startswith((".", "~"))
    say(f"Loading {name}" if path else f"Loading {name} from the Hugging Face Hub or its cache")

    def say_checking(text: str) -> None:
        once = "" if recheck or not cache_folder() else " (first load only; the results are cached)"
        say(f"{text}{once}")

    with quietly():
        from patchgrid.engine import Engine

        try:
            engine = Engine.load(
                name, revision=revision, device=device, dtype=dtype, recheck=recheck, on_check=say_checking
            )
        except ModelError as error:
            near = None if local else nearest_model(name)
            raise ModelError(f"{error}; did you mean {near!r}?") if near else error from None
    layout, provenance = engine.layout, engine.provenance
    say(f"{layout.n_layers} layers, {layout.n_heads} heads, {provenance.dtype} on {provenance.device}")
    return engine


def as_engine(model: Any, tokenizer: Any) -> "Engine":
    """Return an engine of a model in memory, or the engine that it is."""
    require("model", "running a model")
    from patchgrid.engine import Engine

    return model if isinstance(model, Engine) else Engine(model, tokenizer)


def nearest_model(name: str) -> str | None:
    """Return the neighbouring model folder, or the cached hub model, with the most similar name."""
    beside = Path(name).expanduser().parent
    folders = [str(path.parent) for path in beside.glob("*/config.json")]
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = [
        path.name.removeprefix("models--").replace("--", "/") for path in Path(HF_HUB_CACHE).glob("models--*")
    ]
    near = get_close_matches(name.removeprefix("./"), [*folders, *cached], n=1)
    return near[0] if near else None
