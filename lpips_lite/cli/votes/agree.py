"""`lpips-votes agree`: how often metrics agree with people, compared with what people reach, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lpips_lite.catalog import MetricSpec, parse_metric
from lpips_lite.cli.main import parse_metric_names
from lpips_lite.cli.paths import FilePath
from lpips_lite.cli.program import Command
from lpips_lite.cli.terminal import show, spell_option
from lpips_lite.terminal import progress, say

if TYPE_CHECKING:
    from lpips_lite.votes.comparison import Comparison

EXAMPLES = """\b
Examples:
  lpips-votes agree votes.csv
  lpips-votes agree votes.csv -m lite,alex:weights=mine.safetensors,ssim --count votes
  lpips-votes agree 2afc/val jnd/val --votes-per-judgement 5 -m lite,lite:tower=tuned.safetensors --plot agreement.png
  lpips-votes agree votes.csv -m lite,l2 --distances mine=distances.csv --against mine --format json

\b
DATA is anything that `lpips-votes check` reads: a table of votes or of opinion scores, BAPPS, NIGHTS. Folders with
p0/ p1/ same/ (JND) are judged by average precision. Metrics are those of `compare-images --help`. Tables for
--distances have the columns d0, d1, judgement, and may have family, ref, votes.

\b
The output has agreement in % of triplets, or of votes, with a 95 % interval from resampling references; what people
reach (leave-one-out, over triplets with two votes or more; p² + (1-p)², if all have three; the majority); paired
differences from the first metric, or from --against; predicted and actual shares of votes, for metrics whose weights
carry a slope; and Krippendorff's alpha, for single answers (`lpips-votes export --raw`). Triplets with equal distances
count one half, and their number is given as ties.

\b
Exit status: 0 fine, 2 bad input or a resource that ran out, 130 interrupted; measured distances are kept.
"""


def parse_tables(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> dict[str, Path]:
    """Parse `--distances NAME=PATH`, repeated."""
    if not value:
        return {}
    from lpips_lite.votes.distance_tables import parse_distances

    try:
        return parse_distances(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_PATH = FilePath()


@click.command(cls=Command, epilog=EXAMPLES, context_settings={"max_content_width": 120})
@click.argument("data", metavar="[DATA]...", type=_PATH, nargs=-1)
@click.option("-m", "--metric", "metrics", multiple=True, default=["lite,l2,ssim"], callback=parse_metric_names,
              help="Metrics, separated by commas; options follow after colons.  [default: lite,l2,ssim]",
              show_default=False)  # fmt: skip
@click.option("--distances", multiple=True, metavar="NAME=PATH", callback=parse_tables,
              help="Another metric, from a CSV of its distances or a folder of CSVs. Repeatable.")  # fmt: skip
@click.option("--against", metavar="METRIC", help="Metric to compare the others with.  [default: the first]")
@click.option("--count", type=click.Choice(["triplets", "votes"]), default="triplets", help="What counts once.")
@click.option("--votes-per-judgement", metavar="N", type=click.IntRange(1),
              help="Number of observers per judgement in BAPPS' folders, which do not contain it.")  # fmt: skip
@click.option("-f", "--format", "form", type=click.Choice(["table", "markdown", "csv", "json"]), default="table")
@click.option("--plot", type=_PATH, metavar="FILE.png", help="Draw the tables into this file.")
@click.option("--cache", type=_PATH, default=Path("distances"), metavar="FOLDER",
              help="Folder in which distances are kept for the next run.")  # fmt: skip
@click.option("--device", default="cpu", help="Device to compute on, like cuda or mps.")
@click.option("--batch-size", type=click.IntRange(1), default=8, help="Largest number of images at a time.")
@click.option("--workers", type=click.IntRange(1), default=2, help="Number of threads that decode images.")
@click.pass_context
def agree(
    ctx: click.Context,
    data: tuple[Path, ...],
    metrics: list[MetricSpec],
    distances: dict[str, Path],
    against: str | None,
    count: str,
    votes_per_judgement: int | None,
    form: str,
    plot: Path | None,
    cache: Path,
    device: str,
    batch_size: int,
    workers: int,
) -> None:
    """Measure how often metrics agree with the judgments in DATA."""
    if not data and not distances:
        raise click.UsageError("Missing argument 'DATA...'.", ctx)
    if not data and ctx.get_parameter_source("metrics") != ParameterSource.DEFAULT:
        raise click.UsageError("--metric without DATA; expected data to measure it on", ctx)
    from lpips_lite.files.outputs import check_folder
    from lpips_lite.files.settings import Settings
    from lpips_lite.votes.comparison import compare
    from lpips_lite.votes.distances import Measuring
    from lpips_lite.votes.picture import check_picture
    from lpips_lite.votes.verdicts import gather

    names = [*(spec.text for spec in metrics if data), *distances]
    base = None if against is None else _named(against, names)
    if plot is not None:
        check_folder("--plot", plot)
        check_picture(plot)
    settings = Settings(device=device, batch_size=batch_size, workers=workers, spell=spell_option)
    measuring = Measuring(cache, settings)
    verdicts, notes, answers = gather(data, metrics, distances, measuring, progress, votes_per_judgement)
    comparison = compare(verdicts, base, "votes" if count == "votes" else "triplets", notes=notes, answers=answers)
    if plot is not None:
        from lpips_lite.votes.picture import draw

        draw(comparison, "Agreement with people", plot)
    _show(comparison, form)


def _named(against: str, names: Sequence[str]) -> str:
    """Return the metric that `--against` names, in any spelling."""
    if against in names:
        return against
    try:
        text = parse_metric(against).text
    except ValueError:
        text = against
    if text not in names:
        raise click.BadParameter(f"{against!r}; expected one of {', '.join(names)}", param_hint="--against")
    return text


def _show(comparison: Comparison, form: str) -> None:
    """Write the tables to stdout, and notes to stderr."""
    from lpips_lite.votes.exports import to_csv, to_json
    from lpips_lite.votes.tables import grids, to_markdown, to_text

    for note in comparison.notes:
        say(f"note: {note}")
    if form == "json":
        show(to_json(comparison))
    elif form == "csv":
        show(to_csv(comparison).rstrip("\n"))
    else:
        show((to_markdown if form == "markdown" else to_text)(grids(comparison)))
