"""What the commands of this folder are told: one name for one thing, wherever it occurs."""

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

TEACHER_SCALE = 1 / 6  # brings distances under uniform weights to the size of those under the published ones


def data_options(required: bool) -> Callable[[Command], Command]:
    """Return what adds the judgments to learn from, and how paths name the methods that images were made by."""
    pattern = click.option(
        "--method-pattern",
        "method_patterns",
        multiple=True,
        metavar="[NAME=]PATTERN",
        help="How the paths of images name the method that made them, like 'dist/{method}/*', in the data set NAME or "
        "in all. Votes of data that declares methods, so or in columns method_p0 and method_p1, are pooled by them.",
    )
    data = click.argument("data", metavar="DATA...", type=click.Path(path_type=Path), nargs=-1, required=required)
    return lambda command: data(pattern(command))


def load_data(data: Sequence[Path], method_patterns: Sequence[str]) -> list[Triplet]:
    """Read judgments; a pattern for a data set goes before one for all.

    Raises:
        ValueError: If anything is wrong with the data, or two patterns are for the same.
        FileNotFoundError: If there is nothing at a path.
    """
    names = [(path if path.is_dir() else path.parent).resolve().name for path in data]
    patterns: dict[str, str] = {}
    for text in method_patterns:
        name, _, pattern = text.partition("=")
        key, value = (name, pattern) if name in names else ("", text)
        if key in patterns:
            raise ValueError(f"--method-pattern {text}: expected one for {key or 'all data'}; got {patterns[key]}, too")
        patterns[key] = value
    triplets = []
    for path, name in zip(data, names, strict=True):
        triplets += load([path], method_pattern=patterns.get(name, patterns.get("")))
    return triplets


def start_option(command: Command) -> Command:
    """Add the metric to start from, which has to be named: what it has learnt before matters."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.option("--start", type=file, required=True, help="A lite with two heads to start from.")(command)


def read_start(path: Path) -> LPIPS:
    """Load the metric to start from, tower and channel weights of one file."""
    return LPIPS("lite", tower_weights=path, channel_weights=path)


def photo_options(required: bool) -> Callable[[Command], Command]:
    """Return what adds photographs, and the teacher whose distances on them are learnt."""
    file = click.Path(exists=True, path_type=Path)

    def add(command: Command) -> Command:
        alex = "AlexNet, whose distances are learnt, under uniform channel weights."
        command = click.option("--alex", type=file, required=required, help=alex)(command)
        photos = "Tar or folder of equally large photographs to learn them on."
        return click.option("--photos", type=file, required=required, help=photos)(command)

    return add


def read_teacher(alex: Path) -> PlainMetric:
    """Return LPIPS-alex with uniform channel weights, scaled to the size of the published distances."""
    teacher = PlainMetric.of(LPIPS("alex", tower_weights=alex, channel_weights="uniform"))
    teacher.channels = [TEACHER_SCALE * weights for weights in teacher.channels]
    return teacher


def plain_errors(command: Command) -> Command:
    """Say in one line what is wrong with data, files or settings, and leave with exit status 2."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (OSError, ValueError) as error:
            raise click.UsageError(str(error)) from error

    return run
