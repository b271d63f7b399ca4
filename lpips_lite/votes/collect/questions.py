"""What is asked, from what a command or a program names: a table, or folders; checked, with catch items."""

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
    """What a study asks.

    Attributes:
        items: What is judged, and catch items after it.
        digests: Of the content of each image.
        notes: What is to be known of them.
    """

    items: list[Item]
    digests: dict[Path, str]
    notes: list[str]


def gather(
    data: Sequence[Path], settings: Settings, *, count: int | None = None, progress: Progress = silently
) -> Questions:
    """Read a table of triplets (or pairs), or propose some of a folder of references and folders of results.

    Args:
        data: A table, or the folder of references and those of results.
        settings: Of the study; the seed says which items are proposed.
        count: Number of items to propose.
        progress: Goes through the images.

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
                raise NotADirectoryError(f"{printable(path)}: is no folder; expected one of results")
        items, notes = propose(folders[0], folders[1:], mode=settings.mode, count=count, seed=settings.seed)
    else:
        if others or count is not None:
            what = "count" if count is not None else printable(others[0])
            raise ValueError(f"{what}: beside a table, {printable(first)}; expected the table alone")
        items, notes = read_list(first, settings.mode), []
    items, more = check_items(items, progress)
    catches = catch_items(items, settings.mode, seed=settings.seed, progress=progress)
    if not catches and settings.catches:
        more.append("no reference is changed visibly by distortions, so there are no catch trials and no practice")
    paths = [path for item in items for path in item.images().values()]
    return Questions([*items, *catches], contents(paths, progress), [*notes, *more])
