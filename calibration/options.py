"""What the commands of this folder are told: one name for one thing, wherever it occurs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.metric import NETS

Command = Callable[..., None]


def data_options(command: Command) -> Command:
    """Add the judgments to learn from, and how they name the methods that their images were made by."""
    pattern = click.option(
        "--method-pattern",
        metavar="PATTERN",
        help="How paths name the method that an image was made by, like '{method}/{name}.*'. Votes of data that "
        "declares methods, so or in the columns method_p0 and method_p1, are pooled by them.",
    )
    data = click.argument("data", metavar="DATA...", type=click.Path(path_type=Path), nargs=-1, required=True)
    return data(pattern(command))


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
