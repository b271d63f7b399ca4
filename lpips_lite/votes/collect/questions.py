"""The items of a study, checked and with catch items, from a table or from folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lpips_lite.files.names import printable
from lpips_lite.votes.collect.catches import catch_items
from lpips_lite.votes.collect.lists import check_items, read_list
from lpips_lite.votes.collect.proposing import propose
from lpips_lite.votes.collect.study import Item, Settings
from lpips_lite.votes.distances import contents
from lpips_lite.votes.progress import Progress, silently


@dataclass(frozen=True)
class Questions:
    """The items of a study.

    Attributes:
        items: Items to judge, followed by catch items.
        digests: Digest of each image.
        notes: Notes on the items.
    """

    items: list[Item]
    digests: dict[Path, str]
    notes: list[str]


def gather(
    data: Sequence[Path], settings: Settings, *, count: int | None = None, progress: Progress = silently
) -> Questions:
    """Read a table of triplets (or pairs), or propose some from a folder of references and folders of results.

    Args:
        data: A table, or the folder of references followed by folders of results.
        settings: Settings of the study; the seed determines the proposed items.
        count: Number of items to propose.
        progress: Iterates over the images and shows progress.

    Raises:
        OSError: If something cannot be read.
        ValueError: If something is wrong with it.
    """
    first, *others = data
    for path in data:
        if not path.exists():
            raise FileNotFoundError(f"{printable(path)}: no such file or folder")
    if first.is_dir():
        folders = [path.resolve() for path in data]
        for path in others:
            if not path.is_dir():
                raise NotADirectoryError(f"{printable(path)}: is not a folder; expected a folder of results")
        items, notes = propose(folders[0], folders[1:], mode=settings.mode, count=count, seed=settings.seed)
    else:
        if others or count is not None:
            what = "count" if count is not None else printable(others[0])
            raise ValueError(f"{what}: given with a table, {printable(first)}; expected the table alone")
        items, notes = read_list(first, settings.mode), []
    items, more = check_items(items, progress)
    catches = catch_items(items, settings.mode, seed=settings.seed, progress=progress)
    if not catches and settings.catches:
        more.append("distortions change no reference visibly, so there are no catch trials and no practice")
    paths = [path for item in items for path in item.images().values()]
    return Questions([*items, *catches], contents(paths, progress), [*notes, *more])
