"""`lpips-votes fit`: fit channel weights to judgments, and measure their agreement on references not used to fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lpips_lite.catalog import MetricSpec, parse_metrics
from lpips_lite.cli.paths import FilePath
from lpips_lite.cli.program import Command
from lpips_lite.cli.terminal import show, spell_option
from lpips_lite.terminal import progress, say

if TYPE_CHECKING:
    from lpips_lite.files.processes import Processes
    from lpips_lite.metric import LPIPS
    from lpips_lite.votes.features import Features
    from lpips_lite.votes.fit import Fitted, Votes
    from lpips_lite.votes.head_vectors import Head
    from lpips_lite.votes.records import Judgments, Row, Triplet

NETS = ("lite", "alex", "vgg", "squeeze")  # the metrics that have channel weights
EXAMPLES = """\b
Examples:
  lpips-votes fit votes.csv --metric alex:weights=v0.1 -o mine.safetensors
  lpips-votes fit votes.csv --metric lite:weights=calibrated -o mine.safetensors --held-out distances.csv
  lpips-votes fit 2afc/train --metric vgg:weights=uniform -o mine.safetensors --objective ranking --device cuda
  torchrun --nproc-per-node 4 --no-python lpips-votes fit 2afc/train --metric alex:weights=v0.1 -o mine.safetensors

\b
DATA is anything that `lpips-votes check` reads. Use the weights in commands and in Python:
  compare-images original.png a.jpg b.jpg --metric alex:weights=mine.safetensors
  LPIPS("alex", channel_weights="mine.safetensors").preference(ref, p0, p1)    # P(people choose p1)

\b
Name the weights to start from, and to stay near if votes are few: weights=v0.1 (published), weights=uniform,
weights=calibrated (made for lite) or weights=FILE. Weights that were trained on a reference in DATA are refused, since
they cannot be judged on it. If votes do not determine how sure people are, there is a warning, and the file has no
slope. For weights with two heads, --head near (the default) fits the head for small differences, and far the other.

\b
An interrupted run continues where it stopped, using its --cache. Exit status: 0 fine, 2 bad input or a resource that
ran out, 130 interrupted.
"""


def parse_start(ctx: click.Context, parameter: click.Parameter, value: str) -> MetricSpec:
    """Parse `--metric alex:weights=v0.1`: one metric, with the name of its channel weights."""
    try:
        specs = parse_metrics([value])
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    spec, arguments = specs[0], specs[0].arguments()
    if len(specs) > 1:
        raise click.BadParameter(f"{value!r}: {len(specs)} metrics; expected one")
    if spec.name not in NETS:
        raise click.BadParameter(f"{value!r}: has no channel weights to fit; expected one of {', '.join(NETS)}")
    if "unscaled" in arguments or arguments.get("channel_weights") == "v0.0":
        raise click.BadParameter(f"{value!r}: does not scale images, which a fitted file could not say")
    if "channel_weights" not in arguments:
        raise click.BadParameter(
            f"{value!r}: which weights to start from? expected {spec.text}:weights=uniform, "
            f"weights={'calibrated' if spec.name == 'lite' else 'v0.1'} or weights=FILE"
        )
    return spec


_PATH = FilePath()


@click.command(cls=Command, epilog=EXAMPLES, context_settings={"max_content_width": 120})
@click.argument("data", metavar="DATA...", type=_PATH, nargs=-1, required=True)
@click.option("-m", "--metric", metavar="NAME:weights=START", required=True, callback=parse_start,
              help="What to fit: a tower, and the channel weights to start from.")  # fmt: skip
@click.option("-o", "--output", type=_PATH, metavar="FILE.safetensors", required=True, help="Weight file to write.")
@click.option("--head", type=click.Choice(["near", "far"]),
              help="For weights with two heads, the head to fit; the other is kept.  [default: near]")  # fmt: skip
@click.option("--objective", type=click.Choice(["logistic", "ranking"]), default="logistic",
              help="Maximise the likelihood of the votes, or use the recipe of Zhang et al. 2018.")  # fmt: skip
@click.option("--folds", type=click.IntRange(2), default=5, help="Folds of the cross-validation, by reference.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the folds.")
@click.option("--votes-per-judgement", metavar="N", type=click.IntRange(min=1),
              help="Number of observers per judgement in BAPPS' folders, which do not contain it.")  # fmt: skip
@click.option("--held-out", type=_PATH, metavar="FILE.csv", help="Write the cross-validated distances to this file.")
@click.option("--cache", type=_PATH, default=Path("features"), metavar="FOLDER",
              help="Folder in which features of the images are kept for the next run.")  # fmt: skip
@click.option("--device", default="cpu", help="Device to compute the features on, like cuda or mps.")
@click.option("--batch-size", type=click.IntRange(1), default=8, help="Number of images in the tower at a time.")
def fit(**options: Any) -> None:
    """Fit channel weights to the judgments in DATA, and measure their agreement on references not used to fit them.

    The output is the agreement with people, in % of votes, of the starting weights and of weights fitted in the other
    folds, and the difference, each with a 95 % interval from resampling references.
    """
    from lpips_lite.files.processes import Processes

    _check_folders(options["output"], options["held_out"])
    with Processes.join() as processes:
        if processes.note and processes.first:
            say(f"note: {processes.note}")
        _run(processes, **options)


def _check_folders(output: Path, held_out: Path | None) -> None:
    from lpips_lite.files.outputs import check_folder

    if output.suffix != ".safetensors":
        raise click.UsageError(f"--output {output}: expected a name that ends in .safetensors")
    check_folder("--output", output)
    if held_out is not None:
        check_folder("--held-out", held_out)


def _load(
    data: tuple[Path, ...], votes: int | None, metric: MetricSpec, output: Path, held_out: Path | None
) -> Judgments:
    """Read the judgments, and check that no input will be overwritten."""
    from lpips_lite.files.outputs import check_outputs
    from lpips_lite.votes.triplets import load_judgments

    found = load_judgments(data, votes_per_judgement=votes)
    if found.jnd:
        raise click.UsageError(f"{found.jnd[0].p0.parent.parent}: holds pairs, same or different; expected triplets")
    tables = [table for path in data for table in (path.glob("*.csv") if path.is_dir() else [path])]
    images = dict.fromkeys(path for row in found.rows for path in row.images.values())
    named = {"the data": tables, "the weights to start from": metric.files(), "a judged image": images}
    outputs = [("--output", output), *([("--held-out", held_out)] if held_out else [])]
    check_outputs(outputs, [(what, path) for what, paths in named.items() for path in paths])
    return found


@contextmanager
def _lines_named(rows: Sequence[Row]) -> Iterator[None]:
    """Add the line of the data that names an image to errors about it."""
    from lpips_lite.votes.checking import look_at_images

    try:
        yield
    except ConnectionError:  # another process has failed and prints why
        raise
    except (OSError, ValueError) as error:
        problems, _ = look_at_images(rows)
        if not problems:
            raise
        more = f" ({len(problems) - 1} more; lpips-votes check lists all)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}") from error


def _run(
    processes: Processes,
    data: tuple[Path, ...],
    votes_per_judgement: int | None,
    metric: MetricSpec,
    output: Path,
    head: Head | None,
    objective: str,
    folds: int,
    seed: int,
    held_out: Path | None,
    cache: Path,
    device: str,
    batch_size: int,
) -> None:
    """Compute the features in all processes; the first one fits, prints and writes."""
    from lpips_lite.files.measuring import check_device
    from lpips_lite.files.settings import Settings
    from lpips_lite.metric import LPIPS
    from lpips_lite.votes.features import extract
    from lpips_lite.votes.fit import Votes, choose_head, fit as fit_weights
    from lpips_lite.votes.head_vectors import HeadVectors
    from lpips_lite.votes.provenance import check_unseen, reference_digests
    from lpips_lite.votes.weight_file import write_weights

    check_device(Settings(device=processes.device(device), spell=spell_option))
    start = LPIPS(metric.name, **metric.arguments()).to(processes.device(device))
    heads = HeadVectors.of(start)
    head = choose_head(heads, head, objective)
    found = processes.once(lambda: _load(data, votes_per_judgement, metric, output, held_out))
    triplets = found.triplets
    with _lines_named(found.rows):
        digests = processes.once(lambda: reference_digests(triplets, progress))
    check_unseen(start, digests)
    with _lines_named(found.rows):
        features = extract(triplets, start, cache, batch_size, processes, progress)
    if not processes.first:
        return
    for note in found.notes:
        say(f"note: {note}")
    votes = Votes.of(triplets)
    fitted = fit_weights(
        features, votes, heads, head=head, objective=objective, folds=folds, seed=seed, progress=progress
    )
    _tell(start, features, votes, fitted)
    if held_out is not None:
        _write_distances(held_out, triplets, fitted, start.signature)
    settings = {"objective": objective, "seed": f"{seed}"} | ({} if heads.near is None else {"head": head})
    write_weights(output, start, features, votes, fitted, digests.values(), settings)
    for reason in fitted.uncertain:
        say(f"warning: {reason}")
    if fitted.slope is None:
        say("warning: the weights carry no slope, so that LPIPS.preference refuses them")
    say(f"wrote {output}: use it as --metric {metric.name}:{_tower_option(metric)}weights={output}")


def _tower_option(metric: MetricSpec) -> str:
    tower = dict(metric.options).get("tower")
    return f"tower={tower}:" if tower else ""


def _tell(start: LPIPS, features: Features, votes: Votes, fitted: Fitted) -> None:
    """Print agreement at the start, of the fitted weights, and the paired difference."""
    from lpips_lite.votes.agreement import bootstrap, triplet_agreement
    from lpips_lite.votes.head_vectors import HeadVectors

    at_start = triplet_agreement(*features.distances(HeadVectors.of(start)), votes.judgement)
    rows = {start.signature: bootstrap(at_start, votes.reference, votes.count)}
    folds = len(set(fitted.fold.tolist()))
    if folds > 1:
        after = triplet_agreement(fitted.held_out[0], fitted.held_out[1], votes.judgement)
        rows[f"fitted, {folds}-fold by reference"] = fitted.agreement
        rows["gain, paired"] = bootstrap(after - at_start, votes.reference, votes.count)
    for name, interval in rows.items():
        show(f"{interval.percent():<24} % of votes  {name}")


def _write_distances(path: Path, triplets: list[Triplet], fitted: Fitted, start: str) -> None:
    """Write the distances of each triplet under weights that have not seen its reference, and the name of the start."""
    from dataclasses import asdict

    import pandas as pd

    from lpips_lite.files.outputs import replace_file

    table = pd.DataFrame([asdict(t) for t in triplets])
    table = table.assign(d0=fitted.held_out[0], d1=fitted.held_out[1], fold=fitted.fold, start=start)
    replace_file(path, table.to_csv(index=False).encode())
