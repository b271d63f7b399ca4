"""The command `compare-images`: files in; a table, JSON, CSV or heatmaps out.

Data goes to stdout, everything else to stderr. Exit status 0: fine · 1: a `--fail` rule was crossed · 2: bad input.
torch is imported when the first image is compared, not before, so that `--help` is instant.
"""

from __future__ import annotations

import operator
import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lpips_lite import __version__
from lpips_lite.catalog import METRICS, Measure
from lpips_lite.cli_output import Row, progress, render
from lpips_lite.cli_weights import weights
from lpips_lite.measuring import Resize, build_measures, load_pair, measure_pair, say, signature_of
from lpips_lite.pairs import find_pairs

if TYPE_CHECKING:
    from torch import Tensor

Rule = tuple[str, str, float]  # metric, comparison, threshold

COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}

EXAMPLES = """\b
Examples:
  compare-images original.png restored.png
  compare-images original.png a.jpg b.jpg --metric lite,ssim,psnr
  compare-images originals/ results/ --format csv --output results.csv
  compare-images original.png a.jpg --heatmap heat.png --overlay
  compare-images golden/ rendered/ --fail "lite>0.05"      # exit status 1 if crossed
  compare-images weights fetch alex                        # for machines without a network

\b
Metrics: {metrics}
  ↓ lower is closer, ↑ higher is closer. `lite` (the default) needs no download.

\b
Exit status: 0 fine, 1 a --fail rule was crossed, 2 bad input.

\b
Shell completion (bash; zsh and fish likewise):
  eval "$(_COMPARE_IMAGES_COMPLETE=bash_source compare-images)"
""".format(metrics="  ".join(f"{name}{'↓' if m.direction == 'lower' else '↑'}" for name, m in METRICS.items()))


class Program(click.Group):
    """A group in which `compare` need not be written: `compare-images REF IMAGE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["weights"] else ["compare", *args])


class CompareContext(click.Context):
    """A context that calls itself by the program's name alone."""

    @property
    def command_path(self) -> str:
        return "compare-images"


class Compare(click.Command):
    """The command behind the program's own name, which its usage line therefore leaves out."""

    context_class = CompareContext

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("compare-images", "[OPTIONS] REF IMAGE [IMAGE]...")
        formatter.write_usage("compare-images", "[OPTIONS] FOLDER FOLDER", "   or: ")
        formatter.write_usage("compare-images", "weights list|fetch|verify|convert", "   or: ")


def parse_metrics(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[str]:
    """Split `--metric a,b --metric c` into names that exist, each once."""
    names = [name.strip() for part in value for name in part.split(",") if name.strip()]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'}; expected names among {', '.join(METRICS)}")
    return list(dict.fromkeys(names))


def parse_rules(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[Rule]:
    """Parse `--fail "lite>0.2"`."""
    rules = []
    for text in value:
        match = re.fullmatch(r"\s*([\w-]+)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
        try:
            if not match or match[1] not in METRICS:
                raise ValueError
            rules.append((match[1], match[2], float(match[3])))
        except ValueError:
            raise click.BadParameter(f"{text!r}; expected METRIC>NUMBER or METRIC<NUMBER, like lite>0.2") from None
    return rules


def parse_size(ctx: click.Context, parameter: click.Parameter, value: str) -> Resize:
    """Parse `--resize no|ref|WxH` into a word or (height, width)."""
    if value in ("no", "ref"):
        return value
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", value)
    if not match:
        raise click.BadParameter(f"{value!r}; expected no, ref or WIDTHxHEIGHT, like 256x256")
    return int(match[2]), int(match[1])


@click.group(cls=Program)
def main() -> None:
    """Compare images as people see them."""


main.add_command(weights)

_PATH = click.Path(path_type=Path)


@main.command(cls=Compare, epilog=EXAMPLES, context_settings={"max_content_width": 100})
@click.argument("ref", type=_PATH)
@click.argument("images", metavar="IMAGE", type=_PATH, nargs=-1, required=True)
@click.option("-m", "--metric", "metrics", multiple=True, default=["lite"], callback=parse_metrics,
              help="Metrics, separated by commas.  [default: lite]")  # fmt: skip
@click.option("-f", "--format", "style", type=click.Choice(["table", "json", "csv", "jsonl"]),
              help="Output format.  [default: by --output's suffix, else table]")  # fmt: skip
@click.option("-o", "--output", type=_PATH, help="Write the result to this file instead of stdout.")
@click.option("--heatmap", type=_PATH, help="Draw where the images differ: a file like heat.png, or a folder.")
@click.option("--overlay", is_flag=True, help="Draw the heatmap over the image.")
@click.option("--fail", "rules", multiple=True, metavar="RULE", callback=parse_rules,
              help='Exit with status 1 if a pair crosses it, like "lite>0.2". Repeatable.')  # fmt: skip
@click.option("--resize", default="no", show_default=True, metavar="no|ref|WxH", callback=parse_size,
              help="Resize images to the reference's size, or both to a fixed one.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="Where to compute, like cuda or mps.")
@click.option("--allow-unmatched", is_flag=True, help="Ignore images that only one folder has.")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
@click.version_option(__version__, prog_name="compare-images")
@click.pass_context
def compare(
    ctx: click.Context,
    ref: Path,
    images: tuple[Path, ...],
    metrics: list[str],
    style: str | None,
    output: Path | None,
    heatmap: Path | None,
    overlay: bool,
    rules: list[Rule],
    resize: Resize,
    device: str,
    allow_unmatched: bool,
    debug: bool,
) -> None:
    """Say how far each IMAGE is from REF as people see it, or compare two folders by file name."""
    try:
        pairing = find_pairs(ref, images)
        measures = build_measures(metrics, device)
        check_options(rules, measures, heatmap, overlay, len(pairing.pairs))
        if pairing.ignored:
            say(f"note: left out {len(pairing.ignored)} files that are not images, like {pairing.ignored[0]}")
        unmatched = [f"{path}: no image of this name in the other folder" for path in pairing.unmatched]
        problems = [] if allow_unmatched else unmatched
        rows = []
        for pair in progress(pairing.pairs, "comparing"):
            try:
                x, y = load_pair(pair, resize, device)
                rows.append(measure_pair(pair, x, y, measures))
                if heatmap is not None:
                    target = heatmap if heatmap.suffix else heatmap / f"{pair.name}.png"
                    save_heatmap(target, x, y, rows[-1], measures, overlay)
            except (OSError, ValueError) as error:
                if debug:
                    traceback.print_exc()
                problems.append(str(error))
        signatures = {name: measure.signature + signature_of(resize) for name, measure in measures.items()}
        if rows or not problems:
            write(render(rows, signatures, style or style_of(output)), output)
    except (OSError, ValueError, ImportError) as error:
        if debug:
            raise
        say(f"error: {error}")
        ctx.exit(2)
    crossed = [
        f"failed: {row['image']}: {name} = {row[name]:.6g} {comparison} {threshold:g}"
        for row in rows
        for name, comparison, threshold in rules
        if COMPARISONS[comparison](row[name], threshold)
    ]
    for line in (*(f"error: {problem}" for problem in problems), *crossed):
        say(line)
    ctx.exit(2 if problems else 1 if crossed else 0)


# -- options and files ----------------------------------------------------------------------------------------------


def check_options(
    rules: Sequence[Rule], measures: Mapping[str, Measure], heatmap: Path | None, overlay: bool, pairs: int
) -> None:
    """Raise a ValueError if options contradict each other."""
    names = ",".join(measures)
    for name, _, _ in rules:
        if name not in measures:
            raise ValueError(f"--fail names {name}, which is not measured: add it to --metric {names}")
    if heatmap is None:
        if overlay:
            raise ValueError("--overlay: expected --heatmap with it")
        return
    if not any(measure.distance_map for measure in measures.values()):
        raise ValueError(f"--heatmap: {names} has no map; add lite, alex, vgg or squeeze to --metric")
    if pairs > 1 and heatmap.suffix:
        raise ValueError(f"--heatmap {heatmap}: there are {pairs} pairs; expected a folder, not a file")


def save_heatmap(path: Path, x: Tensor, y: Tensor, row: Row, measures: Mapping[str, Measure], overlay: bool) -> None:
    """Draw the first metric that has a map."""
    import torch

    from lpips_lite.report import heatmap

    name, distance_map = next((name, m.distance_map) for name, m in measures.items() if m.distance_map)
    with torch.inference_mode():
        values = distance_map(x, y)[0, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    heatmap(values, x[0], f"{Path(row['image']).name}   {name} {row[name]:.4f}", overlay=overlay).save(path)


def style_of(output: Path | None) -> str:
    """Return the format that a file name asks for."""
    suffix = output.suffix.lstrip(".") if output else ""
    return suffix if suffix in ("json", "csv", "jsonl") else "table"


def write(text: str, output: Path | None) -> None:
    """Write results to a file or stdout."""
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        say(f"wrote {output}")
