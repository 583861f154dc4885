"""Times and sizes as people say them; numbers are written by `storage.number_format`."""


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
