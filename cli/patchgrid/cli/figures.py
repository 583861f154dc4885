"""How numbers are written: as many decimals as the column's largest needs, the same for all of it."""

import math
from collections.abc import Iterable

#: Digits that the largest number of a column is shown with.
_DIGITS = 4
#: Beyond these powers of ten a number is written with an exponent.
_SMALLEST, _LARGEST = -6, 7


class Scale:
    """A column's way of writing numbers, chosen from all its values."""

    def __init__(self, values: Iterable[float | None]) -> None:
        known = [abs(value) for value in values if value is not None and math.isfinite(value)]
        largest = max(known, default=0.0)
        power = math.floor(math.log10(largest)) if largest > 0 else 0
        self._decimals = min(max(0, _DIGITS - 1 - power), 8) if _SMALLEST <= power <= _LARGEST else None

    def write(self, value: float | None, *, sign: bool = True) -> str:
        """Write one value, with its sign unless told otherwise; nothing and NaN as `-`."""
        if value is None or math.isnan(value):
            return "-"
        plus = "+" if sign else ""
        if self._decimals is None:
            return f"{value:{plus}.{_DIGITS - 1}e}"
        text = f"{value:{plus}.{self._decimals}f}"
        return text if float(text) else text.replace("-", "+" if sign else "")

    def interval(self, low: float | None, high: float | None) -> str:
        """Write an interval, or `-` where there is none."""
        if low is None or high is None:
            return "-"
        return f"[{self.write(low)}, {self.write(high)}]"


def ratio(value: float | None) -> str:
    """Write a correlation, slope or share: three decimals."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


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
