"""Resume an interrupted run: find the rows that are still valid for the present files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lpips_lite.files.decoding import content_of
from lpips_lite.files.measuring import block_of, pairs_in_batch
from lpips_lite.files.names import path_text, printable
from lpips_lite.files.outputs import is_special
from lpips_lite.files.pairing import Pair
from lpips_lite.files.reading import Reader
from lpips_lite.files.resizing import least_pixels
from lpips_lite.files.results import Row, RowFormat
from lpips_lite.files.settings import Settings


def kept_rows(
    path: Path,
    row_format: RowFormat,
    pairs: Sequence[Pair],
    reader: Reader,
    settings: Settings,
    is_complete: Callable[[Pair, str], bool],
) -> dict[int, Row]:
    """Return the rows of an earlier run that are valid for the pairs of this run, by position of the pair.

    A row is valid if it belongs to a pair of this run, has no error, and its files, including a mask, still have the
    same bytes; they are read again to check this. A pair that is listed twice needs two rows. Small images share
    batches with others of their block of the list. If one of these must be measured, all are, so that numbers are those
    of an uninterrupted run.

    Args:
        path: The output of the earlier run; it may not exist.
        row_format: The format of rows.
        pairs: Pairs of this run.
        reader: Reads the files.
        settings: Settings with the number of threads.
        is_complete: Pair and content -> whether everything else that belongs to the row, such as a heatmap, exists.

    Raises:
        ValueError: If the file is not the output of a run with these metrics and settings.
    """
    if is_special(path):
        raise ValueError(f"{settings.spell('resume', path)}: expected a file, not a pipe or a device")
    if not path.exists():
        return {}
    try:
        known = _by_pair(row for row in row_format.read(path) if not row["error"])
    except ValueError as error:
        problem = f"{printable(path)} is not an output of these metrics and settings to resume: {error}"
        raise ValueError(f"{problem}; use another output") from error
    positions = [position for position, pair in enumerate(pairs) if _key(pair) in known]
    reader.read_streams(path for position in positions for path in pairs[position].files)

    def look(position: int) -> tuple[str | None, int]:
        try:
            reference, image, *mask = map(reader.open, pairs[position].files)
        except (OSError, ValueError):
            return None, 0
        return content_of(reference, image, *mask), least_pixels(image.size, reference.size, settings)

    kept, batches = {}, {}
    with ThreadPoolExecutor(settings.workers) as pool:
        for position, (now, pixels) in zip(positions, pool.map(look, positions), strict=True):
            rows, pair = known[_key(pairs[position])], pairs[position]
            index = next((i for i, row in enumerate(rows) if row["content"] == now), None)
            if now is not None and index is not None and is_complete(pair, now):
                kept[position] = {**rows.pop(index), **pair.columns}
                batches[position] = pairs_in_batch(pixels, settings)
    broken = {block_of(position) for position in range(len(pairs)) if position not in kept}
    return {p: row for p, row in kept.items() if batches[p] == 1 or block_of(p) not in broken}


def _key(pair: Pair) -> tuple[str, str]:
    return path_text(pair.reference), path_text(pair.image)


def _by_pair(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    known: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        known[row["reference"], row["image"]].append(row)
    return known
