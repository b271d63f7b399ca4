"""Names of files as text: exact in results, harmless on a screen, and never twice the same where files are made."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_ESCAPED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, line separators
_REORDERING = {*"\u200e\u200f\u061c", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def path_text(path: Path) -> str:
    """Return a path as text for files of results, whatever bytes are in its name."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(name: Path | str) -> str:
    """Return a name for people: what would move the cursor, or turn the text around, is escaped."""
    text = path_text(name) if isinstance(name, Path) else name
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if unicodedata.category(character) in _ESCAPED_CATEGORIES or character in _REORDERING:
        return character.encode("unicode_escape").decode("ascii")
    return character


def same_name(name: str) -> str:
    """Return the form in which names are compared: composed, as macOS and Linux may store the same one differently."""
    return unicodedata.normalize("NFC", name)


def unique_names(names: Sequence[str]) -> list[str]:
    """Return a name for each file to be made, none twice even where upper and lower case are one.

    Names that are alone stay as they are; the others get a number in front.
    """
    keys = [same_name(name).casefold() for name in names]
    count = Counter(keys)
    digits = max(3, len(str(len(names))))
    taken = {key for key in keys if count[key] == 1}
    result = []
    for number, (name, key) in enumerate(zip(names, keys, strict=True), start=1):
        if count[key] > 1:
            folder, slash, last = name.rpartition("/")
            name = f"{folder}{slash}{number:0{digits}}_{last}"
            while same_name(name).casefold() in taken:
                name += "_"
            taken.add(same_name(name).casefold())
        result.append(name)
    return result
