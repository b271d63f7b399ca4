"""File names as text: exact in results, safe on a terminal, and unique when files are made."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

STANDARD_INPUT = Path("-")
PATHS = ("reference", "image")
RESULT_COLUMNS = (*PATHS, "identical", "content", "error", "signature")  # other columns cannot have these names
MADE_SUFFIX = ".png"  # suffix of files that are made under unique names

_ESCAPED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, line separators
_REORDERING = {*"\u200e\u200f\u061c", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x2070))}
_HARMFUL = {*_REORDERING, "\ufffe", "\uffff"}  # XML cannot hold the last two
_HALVES = re.compile("[\ud800-\udfff]")  # how Python represents bytes of a name that are not text
_PLAIN = re.compile(r"[0-9A-Za-z_-]{1,200}")  # most names, which need no changes
_LONGEST = 230  # bytes of a last part; file systems allow 255, and a number and a suffix are added


def file_path(text: str | os.PathLike[str]) -> Path:
    """Return a path as it was typed: "-" alone is standard input, "./-" is a file.

    Raises:
        ValueError: If it is empty, which would mean the working folder.
    """
    if not os.fspath(text):
        raise ValueError("an empty name; expected a file or a folder")
    path = Path(text)
    return path.absolute() if path == STANDARD_INPUT and os.fspath(text) != str(STANDARD_INPUT) else path


def path_text(path: Path | str) -> str:
    r"""Return a path as text for files of results; bytes in its name that are not text become `\xff`."""
    text = str(path)
    return text if text.isascii() else _HALVES.sub(_escape_byte, text)


def _escape_byte(half: re.Match[str]) -> str:
    code = ord(half[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def printable(name: Path | str) -> str:
    """Return a name for messages, with escapes for characters that move the cursor or reverse the text."""
    return "".join(_escape(character) for character in path_text(name))


def _escape(character: str) -> str:
    if unicodedata.category(character) in _ESCAPED_CATEGORIES or character in _HARMFUL:
        return character.encode("unicode_escape").decode("ascii")
    return character


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or else its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def same_name(name: str) -> str:
    """Return a name in composed form for comparing, since macOS and Linux may store the same name differently."""
    return unicodedata.normalize("NFC", name)


def unique_names(names: Sequence[str]) -> list[str]:
    """Return a relative path for each file to be made; all are unique even if case does not matter.

    Unique names are not changed; the others get a number in front. So does a name that, with the suffix of the files,
    is also the folder of another: `a` next to `a.png/b`.
    """
    names = [_inside(name) for name in names]
    keys = [same_name(name).casefold() for name in names]
    folders = {folder for parent in {key.rpartition("/")[0] for key in keys} for folder in _with_parents(parent)}
    count = Counter(keys)
    alone = {key for key in count if count[key] == 1 and key + MADE_SUFFIX not in folders}
    taken, digits = set(alone), max(3, len(str(len(names))))
    result = []
    for number, (name, key) in enumerate(zip(names, keys, strict=True), start=1):
        if key not in alone:
            folder, slash, last = name.rpartition("/")
            name = f"{folder}{slash}{number:0{digits}}_{last}"
            while (key := same_name(name).casefold()) in taken or key + MADE_SUFFIX in folders:
                name += "_"
            taken.add(key)
        result.append(name)
    return result


def _inside(name: str) -> str:
    """Return a name as a path inside a folder: not absolute, without `..`, not empty, not too long."""
    if _PLAIN.fullmatch(name):
        return name
    *folders, last = [part for part in path_text(name).split("/") if part not in ("", ".", "..")] or ["unnamed"]
    if len(last) > _LONGEST // 4:  # only then can it have too many bytes
        last = last.encode()[:_LONGEST].decode(errors="ignore")
    return "/".join((*folders, last))


def _with_parents(folder: str) -> list[str]:
    return [folder, *map(str, PurePosixPath(folder).parents)]
