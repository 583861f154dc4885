"""Words that screens, pictures and pages share."""

import re
from pathlib import PurePath

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[A-Za-z]*)")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def counted(number: int, noun: str) -> str:
    """Write `1 pair`, `2 pairs`, `1,000 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_model(name: str) -> str:
    """Return the last part of a folder's path, a hub id unchanged."""
    return PurePath(name).name if PurePath(name).is_absolute() else name


def size(count: float) -> str:
    """Write a number of bytes: `512 MB`, `1.4 GB`."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def read_size(text: str) -> int | None:
    """Read a number of bytes: `40GB`, `512 MB`, `1.5TB`, `24GiB`, `1000`; None: it is none."""
    match = _SIZE.fullmatch(text.strip())
    bytes_each = None if match is None else _UNITS.get(match["unit"].upper().removesuffix("B"))
    return None if match is None or bytes_each is None else int(float(match["number"]) * bytes_each)


def seconds(value: float) -> str:
    """Write a length of time as people say it: `0.8 s`, `2 min 05 s`, `3 h 10 min`."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def ago(value: float) -> str:
    """Write how long ago something was, in few letters: `7s`, `4m`, `30h`."""
    for length, unit in ((3600, "h"), (60, "m")):
        if value >= 2 * length:
            return f"{value // length:.0f}{unit}"
    return f"{value:.0f}s"
