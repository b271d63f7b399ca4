"""What the commands of this folder are told: one name for one thing, wherever it occurs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.metric import NETS
from lpips_lite.votes.triplets import Triplet, load

Command = Callable[..., None]


def data_options(command: Command) -> Command:
    """Add the judgments to learn from, and how paths in them name the methods that images were made by."""
    pattern = click.option(
        "--method-pattern",
        "method_patterns",
        multiple=True,
        metavar="[NAME=]PATTERN",
        help="How the paths of images name the method that made them, like 'dist/{method}/*', in the data set NAME or "
        "in all. Votes of data that declares methods, so or in columns method_p0 and method_p1, are pooled by them.",
    )
    data = click.argument("data", metavar="DATA...", type=click.Path(path_type=Path), nargs=-1, required=True)
    return data(pattern(command))


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


def start_options(command: Command) -> Command:
    """Add the metric to start from, which has to be named: what it has learnt before matters."""
    channels = "Channel weights to start from: a file, a published version, or uniform."
    tower = "Tower to start from: a file, or random:SEED."
    command = click.option("--channel-weights", required=True, help=channels)(command)
    command = click.option("--tower-weights", required=True, help=tower)(command)
    return click.option("--net", type=click.Choice(NETS), default="lite", help="Kind of tower.")(command)


def teacher_options(required: bool) -> Callable[[Command], Command]:
    """Return what adds photographs, and the teacher whose distances on them are learnt."""
    file = click.Path(exists=True, path_type=Path)

    def add(command: Command) -> Command:
        channels = "Its channel weights: a file or a published version."
        tower = "AlexNet, whose LPIPS distances are learnt."
        command = click.option("--teacher-channel-weights", default="v0.1", help=channels)(command)
        command = click.option("--teacher-tower-weights", type=file, required=required, help=tower)(command)
        photos = "Tar or folder of equally large photographs to learn them on."
        return click.option("--photos", type=file, required=required, help=photos)(command)

    return add


def load_teacher(tower_weights: Path, channel_weights: str) -> PlainMetric:
    """Load LPIPS-alex."""
    return PlainMetric.of(LPIPS("alex", tower_weights=tower_weights, channel_weights=channel_weights))


def plain_errors(command: Command) -> Command:
    """Say in one line what is wrong with data, files or settings, and leave with exit status 2."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except (OSError, ValueError) as error:
            raise click.UsageError(str(error)) from error

    return run
