"""Number formatting for people: significant digits, and an estimate with its interval's digits.

The page does the same in `core/text/format.js`.
"""

import math

#: Significant digits of a number without an interval, of half an interval, and of an estimate at most.
DIGITS, HALF_DIGITS, MOST_DIGITS = 3, 2, 7
#: Below the first and from the second on, numbers are written with an exponent.
_SMALLEST, _LARGEST = 1e-4, 1e6
#: Shown for a missing number.
NONE = "-"


def number(value: float | None, digits: int = DIGITS, *, sign: bool = False) -> str:
    """Format a number with `digits` significant digits: `0.0123`, `4.57`, `1,234`; None and NaN as `-`."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0:
        return "0"
    if math.isinf(value):
        return f"{value:{'+' if sign else ''}}"
    return _fixed(value, digits - 1 - power(value, digits), sign=sign)


def with_interval(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """Write an estimate and its interval: `+8.8140` and `± 0.0070`.

    The half width has two significant digits, and the estimate as many decimals. An interval that is not
    symmetric about the estimate is written by its ends, `13.42 to 13.47`, distinguished by the same rule. An
    interval that is a point, or a missing one, leaves the estimate four digits of its own.
    """
    if value is None or low is None or high is None or not math.isfinite(high - low):
        return number(value, sign=True), NONE
    half = (high - low) / 2
    if half <= 0:
        return number(value, 4, sign=True), "± 0"
    places = HALF_DIGITS - 1 - power(half, HALF_DIGITS)
    if abs(low + high - 2 * value) <= 0.01 * half:
        return _beside(value, half, places), f"± {number(half, HALF_DIGITS)}"
    ends = [_beside(end, half, places) for end in (low, high)]
    return _beside(value, half, places), " to ".join(ends)


def ends(low: float | None, high: float | None) -> str:
    """Write an interval by its ends: `0.38 to 0.51`; one that is a point as a number."""
    if low is None or high is None or not math.isfinite(high - low):
        return NONE
    if high <= low:
        return number(low, 4)
    half = (high - low) / 2
    places = HALF_DIGITS - 1 - power(half, HALF_DIGITS)
    return " to ".join(_beside(end, half, places, sign=low < 0) for end in (low, high))


def beside(value: float | None, low: float | None, high: float | None) -> str:
    """Write an estimate with as many decimals as the ends of its interval (`ends`)."""
    if value is None or low is None or high is None or not 0 < high - low < math.inf:
        return number(value, 4, sign=True)
    half = (high - low) / 2
    return _beside(value, half, HALF_DIGITS - 1 - power(half, HALF_DIGITS))


def with_error(value: float | None, error: float | None, *, sign: bool = False) -> str:
    """Write a figure with its standard error: `1.33 ± 0.04`, the error to one digit; without one, `1.33`.

    An error of 0 leaves the figure three digits of its own.
    """
    if value is None or math.isnan(value):
        return NONE
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value, sign=sign)
    places = -power(error, 1)
    return f"{_beside(value, error, places, sign=sign)} ± {number(error, 1)}"


def ratio(value: float | None) -> str:
    """Write a correlation, slope or share: three decimals."""
    return NONE if value is None or math.isnan(value) else f"{value:.3f}"


def percent(share: float | None) -> str:
    """Write a share: `78 %`, `0.51 %`; only all of it is 100 %, only nothing 0 %."""
    if share is None or math.isnan(share):
        return NONE
    text = f"{100 * share:.{1 if 0.01 <= share < 0.1 else 0}f}" if share >= 0.01 else number(100 * share, 2)
    return f"{'>99' if text == '100' and share < 1 else text} %"


def power(value: float, digits: int) -> int:
    """Return the power of ten of a number's first digit, after rounding to `digits` digits."""
    return int(f"{value:.{max(0, digits - 1)}e}".partition("e")[2])


def _beside(value: float, half: float, places: int, *, sign: bool = True) -> str:
    """Format a number beside half its interval, with `places` decimals and at most seven digits."""
    if value:
        places = min(places, MOST_DIGITS - 1 - power(value, MOST_DIGITS))
    return _fixed(value, places, sign=sign, size=max(abs(value), half if half < 1 else 0))


def _fixed(value: float, places: int, *, sign: bool, size: float | None = None) -> str:
    """Format a number with `places` decimals, or with an exponent if it is very small or large."""
    plus = "+" if sign else ""
    if value and not _SMALLEST <= (size or abs(value)) < _LARGEST:
        return f"{value:{plus}.{max(0, places + power(value, 1))}e}"
    text = f"{value:{plus},.{max(0, places)}f}"
    return text if any(letter in "123456789" for letter in text) else text.lstrip("+-")
