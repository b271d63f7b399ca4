"""Numbers for people: what is missing, infinite, or too small for the usual decimals."""

import math

import pytest

from lpips_lite.files.numbers import format_number


@pytest.mark.parametrize(
    ("value", "text"),
    {
        None: "–",
        math.nan: "–",
        math.inf: "∞",
        -math.inf: "−∞",
        3: "3",
        3.14159: "3.14",
        -0.5: "-0.50",
        0.0: "0.00",
        0.004: "4.0e-3",
        -1e-12: "-1.0e-12",
    }.items(),
)
def test_numbers_for_people(value, text):
    assert format_number(value, 2) == text


def test_counts_have_no_decimals_to_be_too_small_for():
    assert format_number(0.3, 0) == "0"
