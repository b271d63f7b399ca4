"""Memory limits: strings like "2GiB", as all `max_memory` arguments take them."""

from __future__ import annotations

import re

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_memory(text: str | int) -> int:
    """Return a number of bytes: "2GiB" -> 2147483648.

    Raises:
        ValueError: If it is not a positive number with one of the units B, KB, MB, GB, KiB, MiB, GiB, TiB.
    """
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]*)\s*", str(text))
    try:
        found = float(match[1]) * UNITS[match[2].upper()] if match else 0
    except (ValueError, KeyError):
        found = 0
    if found < 1:
        raise ValueError(f"max_memory={text!r}: expected bytes, or a string like '2GiB' or '500MB'")
    return int(found)
