"""The settings that reproduce a run of `calibration.tune`, together with its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields

import click

from calibration.auxiliary_losses import SIDE


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; each is an option of the commands.

    Attributes:
        steps: Number of updates.
        lr: Highest learning rate of a one-cycle schedule.
        side: Side of the compared squares in pixels.
        squares: Number of squares of each judged image, whose distances are averaged.
        copies: Least number of judged images of each data set in a step.
        data_weights: Weights of data sets, as "name=3,other=0.5"; the others have 1.
        photo_batches: Number of different batches of photographs for the auxiliary losses.
        teacher_loss: Weight of the loss for the teacher's distances.
        order_loss: Weight of the loss for the order of two levels of a distortion.
        mdsi_loss: Weight of the loss for the order of copies by MDSI.
        shift_loss: Weight of the loss for small shifts.
        descent_loss: Weight of the loss for images that descend on the distance.
        seed: Seed of all randomness.
    """

    steps: int = 1700
    lr: float = 4e-3
    side: int = SIDE
    squares: int = 4
    copies: int = 16
    data_weights: str = ""
    photo_batches: int = 400
    teacher_loss: float = 0.4
    order_loss: float = 1.5
    mdsi_loss: float = 2.0
    shift_loss: float = 0.6
    descent_loss: float = 0.2
    seed: int = 0

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in asdict(self).items())

    def weight_of(self, families: Sequence[str]) -> dict[str, float]:
        """Return the weight of each data set's votes in the loss.

        Raises:
            ValueError: If a name is not one of them, or a weight is not a number ≥ 0.
        """
        weights = dict.fromkeys(families, 1.0)
        for part in filter(None, self.data_weights.split(",")):
            name, _, value = part.partition("=")
            if name not in weights:
                raise ValueError(f"--data-weights {part}: {name!r} is not a data set here ({', '.join(families)})")
            try:
                weights[name] = float(value)
            except ValueError:
                weights[name] = -1.0
            if not 0 <= weights[name] < float("inf"):
                raise ValueError(f"--data-weights {part}: expected {name}=NUMBER, a number ≥ 0")
        return weights


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each field of `Recipe`, with its description in the docstring as help."""
    described = dict(line.strip().split(": ", 1) for line in str(Recipe.__doc__).splitlines() if ": " in line)
    for field in reversed(fields(Recipe)):
        name = f"--{field.name.replace('_', '-')}"
        count = isinstance(field.default, int) and field.name != "seed"
        command = click.option(
            name,
            type=click.IntRange(1) if count else None,
            default=field.default,
            show_default=True,
            help=described[field.name],
        )(command)
    return command
