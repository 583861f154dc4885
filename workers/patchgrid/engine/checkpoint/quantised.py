"""Quantised models: the package that each kind needs."""

from importlib.util import find_spec
from typing import Any

from patchgrid.core.errors import ModelError

#: How weights are quantised, as a configuration names it: the package that runs it, and its name for pip.
_PACKAGES = {
    "aqlm": ("aqlm", "aqlm"),
    "auto-round": ("auto_round", "auto-round"),
    "awq": ("gptqmodel", "gptqmodel"),
    "bitsandbytes": ("bitsandbytes", "patchgrid[quantised]"),
    "bitsandbytes_4bit": ("bitsandbytes", "patchgrid[quantised]"),
    "bitsandbytes_8bit": ("bitsandbytes", "patchgrid[quantised]"),
    "compressed-tensors": ("compressed_tensors", "compressed-tensors"),
    "eetq": ("eetq", "eetq"),
    "fbgemm_fp8": ("fbgemm_gpu", "fbgemm-gpu"),
    "gptq": ("gptqmodel", "gptqmodel"),
    "hqq": ("hqq", "hqq"),
    "quanto": ("optimum.quanto", "optimum-quanto"),
    "quark": ("quark", "amd-quark"),
    "torchao": ("torchao", "torchao"),
}


def quantisation(name: str, config: Any) -> str | None:
    """Tell how a configuration's weights are quantised, as it names it; None: they are not.

    Raises
    ------
    ModelError
        The package that loads such weights is not installed; it is named.
    """
    settings = getattr(config.get_text_config(), "quantization_config", None)
    settings = settings or getattr(config, "quantization_config", None)
    if settings is None:
        return None
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    method = str(getattr(settings.get("quant_method"), "value", settings.get("quant_method")))
    package, pip = _PACKAGES.get(method, (None, ""))
    missing = [(package, pip)] if package is not None and not _is_there(package) else []
    if method != "fp8" and not _is_there("accelerate"):
        missing.append(("accelerate", "patchgrid[sharded]"))
    if missing:
        wanted = " ".join(f"'{pip}'" for _, pip in missing)
        raise ModelError(f"{name} is quantised ({method}), which needs more packages: pip install {wanted}")
    return method


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        return False
