"""Words that screens, pictures and pages share."""

from pathlib import PurePath


def counted(number: int, noun: str) -> str:
    """Write `1 pair`, `2 pairs`, `1,000 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_model(name: str) -> str:
    """Give a folder's last part, a hub id as it is."""
    return PurePath(name).name if PurePath(name).is_absolute() else name


def size(count: float) -> str:
    """Write a number of bytes: `512 MB`, `1.4 GB`."""
    if count < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"
