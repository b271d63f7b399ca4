"""Report how often metrics agree with people about which of two images is closer to a reference (2AFC).

    python benchmarks/two_afc.py DATA... --metric lite,l2,ssim

DATA is anything that `lpips_lite.votes` reads; without any, a small machine-made set is used. Metrics are entries
of `lpips_lite.METRICS`, with options like `alex:weights=mine.safetensors`; `--distances NAME=PATH` adds another from a
CSV with `d0,d1,judgement` (and `family,ref,votes`), or a folder of such, one per family. Intervals are of 95 %, by
resampling references. Distances are kept in the cache, so that a killed run continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from examples.make_triplets import make_triplets
from lpips_lite import read_image
from lpips_lite.catalog import LoadedMetric, MetricSpec, entry_of, parse_metrics
from lpips_lite.terminal import progress
from lpips_lite.votes.agreement import (
    Interval,
    bootstrap,
    human_agreement,
    leave_one_out_agreement,
    oracle_agreement,
    triplet_agreement,
)
from lpips_lite.votes.features import fingerprint
from lpips_lite.votes.triplets import Triplet, distinct_pairs, fewest_votes, load

BAPPS = ("traditional", "cnn", "superres", "deblur", "color", "frameinterp")
PUBLISHED = {  # percent of triplets on BAPPS' validation set: Zhang et al. 2018, table 5
    "people (published)": (80.8, 84.4, 73.4, 67.1, 68.8, 68.6),
    "L2 (published)": (59.9, 77.8, 64.7, 58.2, 63.5, 55.0),
    "SSIM (published)": (60.3, 79.1, 65.1, 58.6, 58.1, 57.7),
    "LPIPS alex (published)": (73.9, 83.4, 71.5, 61.2, 65.3, 63.2),
    "LPIPS vgg (published)": (76.0, 82.8, 70.5, 60.5, 62.5, 63.0),
}
FOOTNOTE = "The released labels of superres and deblur give people 73.60 and 66.09; the paper prints 73.4 and 67.1."

Row = dict[str, Interval]  # family -> agreement


# -- distances -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def distances(
    triplets: Sequence[Triplet],
    metric: LoadedMetric,
    higher_is_closer: bool,
    folder: Path,
    *,
    device: str,
    batch: int,
    workers: int,
) -> pd.DataFrame:
    """Return `family, ref, judgement, votes, d0, d1` of every triplet; distances known from an earlier run are kept.

    A similarity counts as a distance with its sign turned.
    """
    pairs, index = distinct_pairs(triplets)
    known = folder / f"{hashlib.sha256(metric.signature.encode()).hexdigest()[:16]}.npy"
    if not known.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            np.save(Path(scratch) / known.name, np.full(len(pairs), np.nan))
            (Path(scratch) / known.name).replace(known)
    found = np.lib.format.open_memmap(known, "r+")
    with ThreadPoolExecutor(workers) as pool:
        for rows in progress(_batches(pairs, np.isnan(found), batch), metric.signature.split(" weights=")[0]):
            images = pool.map(read_image, [path for row in rows for path in pairs[row]])
            stacked = torch.stack(list(images)).to(device)
            found[rows] = metric.compute(stacked[1::2], stacked[0::2]).double().cpu().numpy()
            found.flush()
    sign = -1 if higher_is_closer else 1
    table = pd.DataFrame([asdict(t) for t in triplets])
    d0, d1 = sign * found[index.T]
    return table.assign(ref=table["ref"].astype(str), d0=d0, d1=d1)


def _batches(pairs: Sequence[tuple[Path, Path]], missing: NDArray[np.bool_], batch: int) -> list[list[int]]:
    """Group rows that are missing by reference, since its images are equally large."""
    batches: list[list[int]] = []
    for row in np.flatnonzero(missing).tolist():
        if batches and len(batches[-1]) < batch and pairs[batches[-1][0]][0] == pairs[row][0]:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def read_distances(path: Path) -> pd.DataFrame:
    """Read distances of some other metric: a CSV, or a folder of them."""
    tables = []
    for file in sorted(path.glob("*.csv")) if path.is_dir() else [path]:
        table = pd.read_csv(file)
        absent = {"d0", "d1", "judgement"} - set(table.columns)
        if absent:
            raise ValueError(f"{file}: no column {', '.join(sorted(absent))}; expected d0, d1 and judgement")
        columns = {
            "family": table.get("family", file.stem),
            "ref": table.get("ref", pd.Series(np.arange(len(table)))).astype(str),
            "votes": table.get("votes", fewest_votes(table["judgement"])),
        }
        tables.append(table.assign(**columns))
    if not tables:
        raise ValueError(f"{path}: no CSV file in this folder")
    return pd.concat(tables)


# -- agreement -------------------------------------------------------------------------------------------------------


def by_family(table: pd.DataFrame, score: Callable[[pd.DataFrame], Interval]) -> Row:
    """Apply a score to each family, in BAPPS' order first."""
    families = sorted(table["family"].unique(), key=lambda name: (BAPPS.index(name) if name in BAPPS else 99, name))
    return {family: score(table[table["family"] == family]) for family in families}


def metric_row(table: pd.DataFrame, count: str) -> Row:
    """Return a metric's agreement in each family."""

    def score(part: pd.DataFrame) -> Interval:
        agreeing = triplet_agreement(part["d0"], part["d1"], part["judgement"])
        return bootstrap(agreeing, part["ref"], part["votes"] if count == "votes" else None)

    return by_family(table, score)


def people_rows(table: pd.DataFrame, count: str) -> dict[str, Row]:
    """Return the ceilings: another observer, a random one (where votes suffice), and the majority."""

    def ceiling(function: Callable[[pd.DataFrame], float]) -> Row:
        def score(part: pd.DataFrame) -> Interval:
            value = function(part)
            return Interval(value, value, value, 1.0)

        return by_family(table, score)

    def weights(part: pd.DataFrame) -> pd.Series | None:
        return part["votes"] if count == "votes" else None

    rows = {}
    several = int((table["votes"] >= 2).sum())
    if table.groupby("family")["votes"].max().min() >= 2:
        name = f"people, leave-one-out ({several} triplets)"
        rows[name] = ceiling(lambda p: leave_one_out_agreement(p["judgement"], p["votes"], weights(p)))
    if table["votes"].min() >= 3:
        rows["people, p² + (1−p)²"] = ceiling(lambda p: human_agreement(p["judgement"], weights(p)))
    rows["majority of people"] = ceiling(lambda p: oracle_agreement(p["judgement"], weights(p)))
    return rows


# -- output ----------------------------------------------------------------------------------------------------------


def to_frame(rows: dict[str, Row]) -> pd.DataFrame:
    """Return one line for each metric and family, in percent; "mean" is the unweighted mean over families."""
    lines = []
    for name, row in rows.items():
        cells = [(family, i.value, i.low, i.high) for family, i in row.items()]
        if len(cells) > 1:
            cells.append(("mean", float(np.mean([value for _, value, _, _ in cells])), np.nan, np.nan))
        lines += [(name, family, *(100 * number for number in numbers)) for family, *numbers in cells]
    return pd.DataFrame(lines, columns=["metric", "family", "agreement", "low", "high"])


def to_markdown(frame: pd.DataFrame, title: str) -> str:
    """Return the paper's layout: metrics down, families across."""
    families = list(dict.fromkeys(frame["family"]))
    lines = [title, "", f"| metric | {' | '.join(families)} |", "|---|" + "---|" * len(families)]
    for name, part in frame.groupby("metric", sort=False):
        cells = {}
        for line in part.to_dict("records"):
            interval = f" [{line['low']:.1f}, {line['high']:.1f}]" if line["low"] < line["high"] else ""
            cells[line["family"]] = f"{line['agreement']:.2f}{interval}"
        lines.append(f"| {name} | {' | '.join(cells.get(family, '') for family in families)} |")
    return "\n".join(lines)


def plot(frame: pd.DataFrame, title: str, path: Path) -> None:
    """Draw agreement with intervals, one group of bars a family."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    frame = frame[frame["family"] != "mean"]
    families, names = list(dict.fromkeys(frame["family"])), list(dict.fromkeys(frame["metric"]))
    figure, axes = plt.subplots(figsize=(max(8, 3 + 0.3 * len(names) * len(families)), 4.5), layout="constrained")
    for position, name in enumerate(names):
        part = frame[frame["metric"] == name].set_index("family").reindex(families)
        x = np.arange(len(families)) + (position - (len(names) - 1) / 2) * 0.8 / len(names)
        error = np.array([part["agreement"] - part["low"], part["high"] - part["agreement"]])
        color = plt.get_cmap("viridis")(position / max(1, len(names) - 1))
        axes.bar(x, part["agreement"], 0.75 / len(names), yerr=error, label=name, color=color, capsize=2)
    axes.axhline(50, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(np.arange(len(families)), families)
    axes.set_ylim(45, min(100, frame["agreement"].max() + 8))
    axes.set_ylabel("agreement with people, %")
    figure.suptitle(title, fontsize="medium")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
    plt.close(figure)


# -- command ---------------------------------------------------------------------------------------------------------


def parse_metric_names(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[MetricSpec]:
    """Parse `--metric a,b --metric c:option`."""
    try:
        return parse_metrics(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(context_settings={"show_default": True})
@click.argument("data", metavar="[DATA]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("-m", "--metric", "metrics", multiple=True, default=["lite,l2,ssim"], callback=parse_metric_names,
              help="Metrics, separated by commas; options after colons, like alex:weights=uniform.")  # fmt: skip
@click.option("--distances", "given", multiple=True, metavar="NAME=PATH", help="A metric from a CSV of distances.")
@click.option("--count", type=click.Choice(["triplets", "votes"]), default="triplets", help="What each cell counts.")
@click.option("--format", "style", type=click.Choice(["markdown", "csv", "json"]), default="markdown")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw the table into this PNG.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("distances"))
@click.option("--device", default="cpu")
@click.option("--batch-size", default=8)
@click.option("--workers", default=2, help="Threads that decode images.")
def main(
    data: tuple[Path, ...],
    metrics: list[MetricSpec],
    given: tuple[str, ...],
    count: str,
    style: str,
    picture: Path | None,
    cache: Path,
    device: str,
    batch_size: int,
    workers: int,
) -> None:
    """Say how often metrics agree with people, with intervals and human ceilings."""
    rows: dict[str, Row] = {}
    source = "human judgments"
    others = {name: read_distances(Path(path)) for name, _, path in (entry.partition("=") for entry in given)}
    with tempfile.TemporaryDirectory() as scratch:
        if not data and not others:
            source = "MACHINE-MADE judgments of the example scene, not people"
            data = (make_triplets(Path(scratch) / "machine-made", 240),)
        tables = {}
        if data:
            triplets = load(data)
            folder = cache / fingerprint(triplets)
            for spec in metrics:
                higher = entry_of(spec.text).direction == "higher"
                tables[spec.text] = distances(
                    triplets, spec.load(device), higher, folder, device=device, batch=batch_size, workers=workers
                )
    tables |= others
    first = next(iter(tables.values()))
    rows |= people_rows(first, count)
    bapps = set(first["family"]) == set(BAPPS)
    if bapps:
        rows |= {
            name: {f: Interval(v / 100, v / 100, v / 100, 1.0) for f, v in zip(BAPPS, values, strict=True)}
            for name, values in PUBLISHED.items()
        }
    rows |= {name: metric_row(table, count) for name, table in tables.items()}
    frame = to_frame(rows)
    title = f"2AFC agreement in % of {count}, {source}; {len(first)} triplets, {first['votes'].sum():g} votes"
    if picture:
        plot(frame, title, picture)
    if style == "markdown":
        click.echo(to_markdown(frame, title) + (f"\n\n{FOOTNOTE}" if bapps else ""))
    elif style == "csv":
        click.echo(frame.to_csv(index=False), nl=False)
    else:
        records = json.loads(frame.to_json(orient="records"))
        click.echo(json.dumps({"counts": count, "source": source, "results": records}, indent=2))


if __name__ == "__main__":
    main()
