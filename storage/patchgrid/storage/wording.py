"""Words that screens, pictures and pages share."""

from pathlib import PurePath


def counted(number: int, noun: str) -> str:
    """Write `1 pair`, `2 pairs`, `1,000 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_model(name: str) -> str:
    """Give a folder's last part, a hub id as it is."""
    return PurePath(name).name if PurePath(name).is_absolute() else name
