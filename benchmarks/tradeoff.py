"""Draw agreement with people against time and size, for metrics of the catalog.

    python benchmarks/two_afc.py DATA... --metric alex,squeeze,l2,ssim --format csv > agreement.csv
    python benchmarks/tradeoff.py agreement.csv --out tradeoff.png

It reads the output of `two_afc.py`. Several files are combined, and metrics that are not in the catalog are left out.
Times are measured here, one pair of 256×256 at a time; the size is that of the weights a metric needs.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import pandas as pd
import torch

from lpips_lite.catalog import LoadedMetric, MetricSpec, parse_metric
from lpips_lite.terminal import progress

SIZES = {"lite": 1.6, "alex": 9.9, "squeeze": 2.9, "vgg": 58.9}  # MB of float32 convolutions and channel weights


def milliseconds(metric: LoadedMetric, repeats: int = 15) -> float:
    """Return the median time of one pair."""
    x, y = torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256)
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 2):
            start = time.perf_counter()
            metric.compute(x, y)
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])


def in_catalog(text: str) -> MetricSpec | None:
    """Return the metric with this name, if there is one."""
    try:
        return parse_metric(text)
    except ValueError:
        return None


@click.command()
@click.argument("agreement", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="PNG to write.")
def main(agreement: tuple[Path, ...], out: Path) -> None:
    """Write a picture with one panel per set of judgments."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    table = pd.concat([pd.read_csv(path) for path in agreement])
    specs = {text: spec for text in dict.fromkeys(table["metric"]) if (spec := in_catalog(text))}
    table = table[table["metric"].isin(specs) & (table["family"] != "mean")]
    times = {text: milliseconds(spec.load()) for text, spec in progress(list(specs.items()), "timing")}
    sizes = {text: SIZES.get(spec.name, 0) for text, spec in specs.items()}
    families = list(dict.fromkeys(table["family"]))
    figure, axes = plt.subplots(1, len(families), figsize=(5.2 * len(families), 4), layout="constrained", squeeze=False)
    for axis, family in zip(axes[0], families, strict=True):
        for row in table[table["family"] == family].to_dict("records"):
            name = row["metric"]
            color = "crimson" if specs[name].name == "lite" else "tab:blue" if sizes[name] else "gray"
            error = [[row["agreement"] - row["low"]], [row["high"] - row["agreement"]]]
            size = 5 + 3 * sizes[name] ** 0.5
            axis.errorbar(times[name], row["agreement"], error, fmt="o", color=color, markersize=size, elinewidth=1)
            label, offset, ends = (f"{name}, {sizes[name]} MB", 8, "left") if sizes[name] else (name, -6, "right")
            place = {"xytext": (offset, 4), "textcoords": "offset points", "horizontalalignment": ends}
            axis.annotate(label, (times[name], row["agreement"]), fontsize=8, **place)
        axis.set_xscale("log")
        axis.margins(x=0.35)
        axis.set_xlabel("ms per pair of 256×256")
        axis.set_title(family, fontsize="medium")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("agreement with people, %")
    figure.savefig(out, dpi=120)
    for name in specs:
        click.echo(f"{name}: {times[name]:.1f} ms, {sizes[name]} MB")


if __name__ == "__main__":
    main()
