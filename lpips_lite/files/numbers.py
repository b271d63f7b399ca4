"""Numbers for people, in tables and on pages."""

from __future__ import annotations

import math

NO_NUMBER, INFINITE = "–", "∞"


def format_number(value: float | None, decimals: int) -> str:
    """Format a number; counts have no decimals, and what is too small for them has two digits, like 3.8e-5, not 0."""
    if value is None or math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return INFINITE if value > 0 else f"−{INFINITE}"
    if isinstance(value, int):
        return str(value)
    text = f"{value:.{decimals}f}"
    return f"{value:.1e}".replace("e-0", "e-") if decimals and value and float(text) == 0 else text
