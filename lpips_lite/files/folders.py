"""Walk through folders: find the images in them, and note what was left out."""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lpips_lite.files.names import printable, same_name
from lpips_lite.files.settings import Spelling, python_spelling

# Pillow opens these only to pass them to another program: they are data, films and weather maps, not images.
STUBS = {"BUFR", "GRIB", "HDF5", "MPEG"}
# These are images, too, although Pillow may not read them: they are paired, and the error on reading says why.
OTHER_IMAGES = {
    "high dynamic range, film": "exr hdr rgbe pfm phm pic dpx cin",
    "successors and relatives of JPEG": "avif avifs heic heif hif jxl jxr wdp hdp jls jph bpg flif mpo jps jif jfi",
    "cameras": "dng cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 rwl pef srw x3f 3fr fff iiq erf kdc dcr mrw mef mos",
    "editors, drawings": "psd psb xcf kra ora svg svgz pict pct",
    "textures, microscopes, medicine": "ktx ktx2 astc pvr btf tf8 svs ndpi dcm fts pam wbmp xwd jng mng djvu djv",
}
NAMED = 5  # entries left out for one reason that are named; the rest are counted

MOST_VISITS = 32  # of one folder through different links, since links between folders may never end

LOOPS = "links that lead back to a folder they lie in, not entered"
NOWHERE = "links that lead nowhere, left out"
SPECIAL = "pipes and devices in a folder, left out"


@dataclass(frozen=True)
class Walk:
    """The files below a folder.

    Attributes:
        folder: The folder where the walk began.
        files: Relative names with "/", sorted; broken links are included if they have names of images.
        left_out: Relative name -> why it was left out.
    """

    folder: Path
    files: list[str]
    left_out: dict[str, str]

    def notes(self) -> list[str]:
        """Return notes on the entries that were left out."""
        reasons: dict[str, list[Path]] = defaultdict(list)
        for name, reason in sorted(self.left_out.items()):
            reasons[reason].append(self.folder / name)
        return [f"{reason}: {some(paths)}" for reason, paths in sorted(reasons.items())]


@dataclass(frozen=True)
class Images:
    """The images of a folder.

    Attributes:
        by_name: Relative name without suffix, in composed form -> file.
        ignored: All other files.
        notes: Notes on what was left out.
    """

    by_name: dict[str, Path]
    ignored: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_images(folder: Path, *, spell: Spelling = python_spelling) -> Images:
    """Find the images below a folder.

    Raises:
        OSError: If the folder, or one in it, cannot be read.
        ValueError: If there is no image, or two images have the same name.
    """
    walk = walk_folder(folder)
    found: dict[str, list[str]] = defaultdict(list)
    for name in walk.files:
        if is_image(name):
            found[same_name(split_suffix(name)[0])].append(name)
    if not found:
        raise ValueError("; ".join([f"{printable(folder)}: no image files in this folder", *walk.notes()]))
    for stem, names in found.items():
        if len(names) > 1:
            several, pattern = ", ".join(map(_with_form, names)), spell("ref_pattern", "{name}.png")
            raise ValueError(
                f"{printable(folder)}: {printable(stem)} stands for several files: {several}; "
                f"expected one, or a pattern like {pattern} that says which"
            )
    ignored = [*(name for name in walk.files if not is_image(name)), *walk.left_out]
    by_name = {stem: folder / found[stem][0] for stem in sorted(found)}
    return Images(by_name, [folder / name for name in sorted(ignored)], walk.notes())


def walk_folder(folder: Path, depth: int | None = None) -> Walk:
    """List the files below a folder, following links, and down to `depth` folders if this is given.

    A folder that is reached in two ways is listed twice, but never inside itself.

    Raises:
        OSError: If the folder, or one in it, cannot be read.
    """
    files: list[str] = []
    left_out: dict[str, str] = {}
    # For each folder: its path, the prefix of names in it, its identity, and the identities of the folders around it.
    todo = deque([(folder, "", _identity(folder), frozenset[object]())])  # shortest paths first
    visits: Counter[object] = Counter()
    while todo:
        path, prefix, identity, around = todo.popleft()
        visits[identity] += 1
        if identity in around or visits[identity] > MOST_VISITS:
            left_out[prefix.rstrip("/")] = LOOPS
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                kind = _kind(entry)
                if kind == "folder":
                    if depth is None or prefix.count("/") + 1 < depth:
                        inside = path / entry.name
                        todo.append((inside, f"{prefix}{entry.name}/", _identity(inside), around | {identity}))
                elif kind == "file" or (kind == NOWHERE and is_image(entry.name)):
                    files.append(prefix + entry.name)
                else:
                    left_out[prefix + entry.name] = kind
    return Walk(folder, sorted(files), left_out)


def is_image(name: str) -> bool:
    """Return whether a file is an image by its suffix, and not a file that macOS puts beside an image."""
    return split_suffix(name)[1].lower() in image_suffixes() and not is_resource_fork(name)


def is_resource_fork(name: str) -> bool:
    """Return whether a file is one that macOS puts beside another file: `._a.png` beside `a.png`."""
    return name.rpartition("/")[2].startswith("._")


def split_suffix(name: str) -> tuple[str, str]:
    """Split a name before its last suffix; a dot at the beginning does not start a suffix."""
    return os.path.splitext(name)  # noqa: PTH122 - there are many names, and they are strings, not paths


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of images in lower case: those that Pillow reads, and those that it cannot read."""
    from PIL import Image

    registered = Image.registered_extensions()
    readable = {suffix for suffix, kind in registered.items() if kind in Image.OPEN and kind not in STUBS}
    others = {f".{suffix}" for suffixes in OTHER_IMAGES.values() for suffix in suffixes.split()}
    return frozenset(readable | others)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "file" or "folder", following links, or else the reason why the entry is left out."""
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    try:
        mode = entry.stat().st_mode
    except OSError:  # also a link to itself, or into a folder without permission
        return NOWHERE
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else SPECIAL


def _with_form(name: str) -> str:
    """Return a name for messages that also distinguishes two names which look the same."""
    return printable(name) if name == same_name(name) else f"{printable(name)} (with accents stored apart)"


def some(paths: Sequence[Path]) -> str:
    """Return the first few paths for messages, and how many more there are."""
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(map(printable, paths[:NAMED])) + more
