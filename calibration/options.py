"""Options that the commands in this folder share, with the same names everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.votes.triplets import Triplet, load

Command = Callable[..., None]


def data_options(command: Command) -> Command:
    """Add the judgments to learn from, and the patterns of paths that name methods."""
    pattern = click.option(
        "--method-pattern",
        "method_patterns",
        multiple=True,
        metavar="[NAME=]PATTERN",
        help="Pattern that finds the method in paths of images, like 'dist/{method}/*', in the data set NAME or in "
        "all. Votes of data with methods, from here or from columns method_p0 and method_p1, are pooled by method.",
    )
    data = click.argument("data", metavar="DATA...", type=click.Path(path_type=Path), nargs=-1, required=True)
    return data(pattern(command))


def load_data(data: Sequence[Path], method_patterns: Sequence[str]) -> list[Triplet]:
    """Read judgments; a pattern for a data set takes precedence over one for all.

    Raises:
        ValueError: If the data has a problem, or two patterns are for the same data set.
        FileNotFoundError: If there is nothing at a path.
    """
    names = [(path if path.is_dir() else path.parent).resolve().name for path in data]
    patterns: dict[str, str] = {}
    for text in method_patterns:
        name, _, pattern = text.partition("=")
        key, value = (name, pattern) if name in names else ("", text)
        if key in patterns:
            raise ValueError(f"--method-pattern {text}: expected one for {key or 'all data'}; got also {patterns[key]}")
        patterns[key] = value
    triplets = []
    for path, name in zip(data, names, strict=True):
        triplets += load([path], method_pattern=patterns.get(name, patterns.get("")))
    return triplets


def start_option(command: Command) -> Command:
    """Add the metric to start from, which has to be named, since it matters what it was trained on."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option("--start", type=file, required=True, help="A file of calibration.distill.")(command)


def read_lite(path: Path) -> LPIPS:
    """Load a lite whose tower and channel weights are in one file."""
    return LPIPS("lite", tower_weights=path, channel_weights=path)


def photo_options(required: bool) -> Callable[[Command], Command]:
    """Return a decorator that adds photographs, and the teacher whose distances on them are learnt."""
    file = click.Path(exists=True, path_type=Path)

    def add(command: Command) -> Command:
        alex = "AlexNet, whose distances are learnt."
        command = click.option("--alex", type=file, required=required, help=alex)(command)
        photos = "Tar or folder of photographs of the same size to learn them on."
        return click.option("--photos", type=file, required=required, help=photos)(command)

    return add


def read_teacher(alex: Path, channel_weights: str) -> PlainMetric:
    """Return LPIPS-alex with "uniform" channel weights or the published ones, "v0.1"."""
    return PlainMetric.of(LPIPS("alex", tower_weights=alex, channel_weights=channel_weights))


def plain_errors(command: Command) -> Command:
    """Print problems with data, files or settings in one line, and exit with status 2."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (OSError, ValueError) as error:
            raise click.UsageError(str(error)) from error

    return run
