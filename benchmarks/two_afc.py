"""Report how often metrics agree with people about which of two images is closer to a reference (2AFC).

    python benchmarks/two_afc.py DATA... --metric lite,l2,ssim

It works like `lpips-votes agree`, whose help describes DATA, metrics and tables of distances. In addition, it shows the
published figures for BAPPS' validation set, and without DATA it uses a small machine-made set.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click

from examples.make_triplets import make_triplets
from lpips_lite.catalog import MetricSpec, parse_metrics
from lpips_lite.files.settings import Settings
from lpips_lite.terminal import progress, say
from lpips_lite.votes.bapps import UNKNOWN_VOTES
from lpips_lite.votes.comparison import Comparison, Count, Line, compare
from lpips_lite.votes.distance_tables import parse_distances
from lpips_lite.votes.distances import Measuring
from lpips_lite.votes.exports import HUMAN, to_csv, to_json
from lpips_lite.votes.picture import check_picture, draw
from lpips_lite.votes.tables import grids, to_markdown
from lpips_lite.votes.verdicts import Verdicts, gather

VOTES = 5  # votes per triplet of BAPPS' validation set, which its tables of distances do not contain
BAPPS = ("traditional", "cnn", "superres", "deblur", "color", "frameinterp")
PUBLISHED = {  # percent of triplets on BAPPS' validation set: Zhang et al. 2018, table 5
    "people (published)": (80.8, 84.4, 73.4, 67.1, 68.8, 68.6),
    "L2 (published)": (59.9, 77.8, 64.7, 58.2, 63.5, 55.0),
    "SSIM (published)": (60.3, 79.1, 65.1, 58.6, 58.1, 57.7),
    "LPIPS alex (published)": (73.9, 83.4, 71.5, 61.2, 65.3, 63.2),
    "LPIPS vgg (published)": (76.0, 82.8, 70.5, 60.5, 62.5, 63.0),
}
FOOTNOTE = "The released labels of superres and deblur give people 73.60 and 66.09; the paper prints 73.4 and 67.1."


def with_votes(verdicts: Mapping[str, Verdicts]) -> dict[str, Verdicts]:
    """Set the number of votes if it is unknown and the data is BAPPS' complete validation set, and nothing else."""
    filled = {name: replace(of, triplets=of.triplets.fillna({"votes": VOTES})) for name, of in verdicts.items()}
    return {name: filled[name] if set(of.triplets["family"]) == set(BAPPS) else of for name, of in verdicts.items()}


def with_published(comparison: Comparison) -> Comparison:
    """Insert the published figures between those of people and of metrics."""
    lines = [
        Line(name, family, value)
        for name, values in PUBLISHED.items()
        for family, value in zip(BAPPS, values, strict=True)
    ]
    notes = [note for note in comparison.notes if UNKNOWN_VOTES not in note]  # they are known here
    return replace(comparison, ceilings=[*comparison.ceilings, *lines], notes=[*notes, FOOTNOTE])


# -- command ---------------------------------------------------------------------------------------------------------


class BadInputError(click.ClickException):
    """A problem with the input, in one line."""

    exit_code = 2


def parsed(parse: Callable[[Sequence[str]], object]) -> Callable[..., object]:
    """Return a callback with which click parses a repeated option."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> object:
        try:
            return parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


@click.command(context_settings={"show_default": True})
@click.argument("data", metavar="[DATA]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("-m", "--metric", "metrics", multiple=True, default=["lite,l2,ssim"], callback=parsed(parse_metrics),
              help="Metrics, separated by commas; options after colons, like alex:weights=uniform.")  # fmt: skip
@click.option("--distances", multiple=True, metavar="NAME=PATH", callback=parsed(parse_distances),
              help="A metric from a CSV of distances.")  # fmt: skip
@click.option("--count", type=click.Choice(["triplets", "votes"]), default="triplets", help="What counts once.")
@click.option("--format", "style", type=click.Choice(["markdown", "csv", "json"]), default="markdown")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw the tables into this PNG.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("distances"))
@click.option("--device", default="cpu")
@click.option("--batch-size", type=click.IntRange(1), default=8)
@click.option("--workers", type=click.IntRange(1), default=2, help="Number of threads that decode images.")
def main(
    data: tuple[Path, ...],
    metrics: list[MetricSpec],
    distances: dict[str, Path],
    count: str,
    style: str,
    picture: Path | None,
    cache: Path,
    device: str,
    batch_size: int,
    workers: int,
) -> None:
    """Measure how often metrics agree with people, with intervals and human ceilings."""
    try:
        if picture:
            check_picture(picture)
        measuring = Measuring(cache, Settings(device=device, batch_size=batch_size, workers=workers))
        with tempfile.TemporaryDirectory() as scratch:
            made = not data and not distances
            source = "MACHINE-MADE judgments of the example scene, not people" if made else HUMAN
            data = (make_triplets(Path(scratch) / "machine-made", 240),) if made else data
            verdicts, notes, _ = gather(data, metrics, distances, measuring, progress, 1 if made else None)
        unit: Count = "votes" if count == "votes" else "triplets"
        comparison = compare(with_votes(verdicts), count=unit, order=BAPPS, notes=notes)
        if {part.family for part in comparison.data} == set(BAPPS):
            comparison = with_published(comparison)
        if picture:
            draw(comparison, f"2AFC agreement, {source}", picture)
    except (OSError, ValueError) as error:
        raise BadInputError(str(error)) from error
    if style == "markdown":
        click.echo(to_markdown(grids(comparison, source), comparison.notes))
        return
    for note in comparison.notes:
        say(f"note: {note}")
    click.echo(to_csv(comparison) if style == "csv" else to_json(comparison, source), nl=style != "csv")


if __name__ == "__main__":
    main()
