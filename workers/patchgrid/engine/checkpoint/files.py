"""A model folder's JSON files, read as untrusted input; no torch here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import cached_file

from patchgrid.core.errors import ModelError

#: transformers' index of sharded weights.
INDEX = "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    ModelError
        The file cannot be read, is not valid JSON, is nested too deeply or holds no object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{path} is nested too deeply for a model file") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ModelError(f"{path} holds a {type(document).__name__}, not a JSON object")
    return document


def find_file(name: str, file: str, revision: str | None, *, local_files_only: bool = False) -> Path | None:
    """Return the path of a file in a folder or hub repository, downloading it if needed; None if absent.

    Raises
    ------
    OSError
        The repository cannot be reached, or is not there.
    """
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    cached = cached_file(
        name,
        file,
        revision=revision,
        local_files_only=local_files_only,
        _raise_exceptions_for_missing_entries=False,
    )
    return None if cached is None else Path(cached)


def check_index(name: str, file: str, revision: str | None) -> None:
    """Refuse an index of weights that names anything but safetensors files beside it.

    transformers reads whatever such an index names: pickles, too.
    """
    path = find_file(name, file, revision)
    if path is None:
        return
    files = read_json(path).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ModelError(f"{path} lists no weights: it has no weight_map")
    for each in files.values():
        if not isinstance(each, str) or Path(each).name != each or not each.endswith(".safetensors"):
            raise ModelError(
                f"{path} names {each!r}, which is not a safetensors file beside it: "
                "convert the weights with model.save_pretrained(folder)"
            )


def load_tokenizer(name: str, revision: str | None, *, local_files_only: bool = False) -> Any:
    """Load a tokenizer, or raise `ModelError`."""
    with reading(f"the tokenizer of {name}", name):
        return AutoTokenizer.from_pretrained(
            name, revision=revision, local_files_only=local_files_only, trust_remote_code=False
        )


@contextmanager
def reading(what: str, name: str) -> Iterator[None]:
    """Translate any library error about missing, broken or unsuitable files to a `ModelError`."""
    try:
        yield
    except ModelError:
        raise
    except RecursionError:
        folder = Path(name)
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            _check_nesting(path)
        raise ModelError(f"cannot load {what}: one of its JSON files is nested too deeply") from None
    except Exception as error:
        # tokenizers raises nothing narrower, and a configuration's numbers end up in any arithmetic.
        raise ModelError(f"cannot load {what}: {first_line(error)}") from error


def _check_nesting(path: Path) -> None:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ModelError(f"{path} is nested too deeply for a model file") from None
    except (OSError, ValueError):
        return


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has no readable message."""
    lines = str(error).strip().splitlines()
    if isinstance(error, (KeyError, ZeroDivisionError, IndexError)) or not lines:
        return f"{type(error).__name__}{f' ({lines[0]})' if lines else ''}"
    # Validation errors of configurations say in their second line what is wrong.
    return (
        " ".join(line.strip() for line in lines[:2]) if lines[0].startswith("Validation error") else lines[0]
    )
