"""Numbers as people read them: each with its own digits, an estimate with those of its interval."""

import math
import re

import numpy as np
import pytest

from patchgrid.core.text.number_format import number, percent, with_error, with_interval


def test_a_number_has_three_digits_of_its_own() -> None:
    """Whatever else stands in its column; an exponent where that would be long."""
    values = (18.1634, 0.00123, -0.2, 9.996, 123_456.0, 1.5e-9, 0.0, math.nan, None)
    assert [number(value) for value in values] == [
        *("18.2", "0.00123", "-0.200", "10.0", "123,456", "1.50e-09", "0", "-", "-"),
    ]
    assert number(0.5, sign=True) == "+0.500"


@pytest.mark.parametrize(
    ("estimate", "low", "high", "written"),
    [
        (8.814, 8.807, 8.821, ("+8.8140", "± 0.0070")),
        (13.42, 13.4, 13.44, ("+13.420", "± 0.020")),
        (0.05, 0.0496, 0.0504, ("+0.05000", "± 0.00040")),
        (-1.64, -1.98, -1.30, ("-1.64", "± 0.34")),
        (123_456.0, 123_000.0, 123_912.0, ("+123,456", "± 456")),
        (-0.00005, -0.05005, 0.04995, ("0.000", "± 0.050")),
        (3.4e-5, 3.39e-5, 3.41e-5, ("+3.400e-05", "± 1.0e-07")),
        (4.968, 4.968, 4.968, ("+4.968", "± 0")),
        (13.42, 13.41, 13.47, ("+13.420", "+13.410 to +13.470")),
        (1.25, None, None, ("+1.25", "-")),
        (None, None, None, ("-", "-")),
    ],
)
def test_an_estimate_has_the_digits_of_half_its_interval(
    estimate: float | None, low: float | None, high: float | None, written: tuple[str, str]
) -> None:
    """Two significant ones; ends where the interval is not symmetric."""
    assert with_interval(estimate, low, high) == written


def test_no_interval_is_written_with_two_equal_ends() -> None:
    """What is written gives the interval back, to a fortieth of its half width, over any sizes."""
    draws = np.random.default_rng(0)
    for size, share in zip(10 ** draws.uniform(-6, 6, 500), 10 ** draws.uniform(-4, 2, 500), strict=True):
        value, half = float(size * draws.choice([-1, 1])), float(size * share)
        estimate, interval = with_interval(value, value - half, value + half)
        assert re.fullmatch(r"± [0-9,.]+(e[+-][0-9]+)?", interval)
        read = float(interval.removeprefix("± ").replace(",", ""))
        assert read == pytest.approx(half, rel=0.05)
        assert float(estimate.replace(",", "")) == pytest.approx(value, abs=0.06 * half if half < 1 else 0.51)


def test_a_share_is_all_only_where_it_is_all() -> None:
    """99.6 % is not 100 %, and 0.5 % is not 0 %."""
    shares = (1.0, 0.996, 0.78, 0.0512, 0.0051, 0.0, None)
    assert [percent(share) for share in shares] == ["100 %", ">99 %", "78 %", "5.1 %", "0.51 %", "0 %", "-"]


def test_a_figure_is_written_with_the_digits_of_its_standard_error() -> None:
    """One digit of the error; a figure without one has three digits of its own."""
    assert with_error(1.3333, 0.041) == "1.33 ± 0.04"
    assert with_error(-0.00123, 0.0002, sign=True) == "-0.0012 ± 0.0002"
    assert with_error(99.41, 0.96) == "99 ± 1"
    assert with_error(0.0, 0.5) == "0.0 ± 0.5"
    assert [with_error(0.97654, error) for error in (None, 0.0, float("nan"))] == ["0.977"] * 3
    assert with_error(None, 0.1) == "-"
