"""The command `compare-images`: compare files and write a table, JSON, CSV, heatmaps or a report.

Data goes to stdout, everything else to stderr. torch is not imported before the first image is compared, so that
`--help` is instant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from lpips_lite import __version__
from lpips_lite.catalog import MEASURES, MetricSpec, parse_metrics
from lpips_lite.cli.paths import FILE_PATH
from lpips_lite.cli.presets import chosen_metrics, explain, use_layout
from lpips_lite.cli.program import Command, Program
from lpips_lite.cli.table_options import TABLE_GROUPS, table_options, take_table_settings
from lpips_lite.cli.terminal import spell_option
from lpips_lite.cli.weights import weights
from lpips_lite.conventions import CONVENTIONS
from lpips_lite.files.layouts import LAYOUTS
from lpips_lite.files.names import STANDARD_INPUT
from lpips_lite.files.settings import MAX_PIXELS

EXAMPLES = """\b
Examples:
  compare-images original.png restored.png
  compare-images original.png a.jpg b.jpg --metric lite,ssim:matlab,psnr
  compare-images originals/ results/ --output results.csv   # add --resume to continue
  compare-images --ref-pattern "gt/{{name}}.png" --image-pattern "out/{{method}}/{{name}}x4.*" -o results.csv
  compare-images --pairs list.csv --report page.html
  compare-images --layout 3dgs output/ --convention 3dgs --by method,scene --against ours --table table.tex
  compare-images --layout codec originals/ coded/ --by codec --curve bpp lite
  compare-images original.png a.jpg --heatmap heat.png --overlay
  compare-images golden/ rendered/ --metric region --fail "region>0" --junit junit.xml   # screenshots
  compare-images weights fetch alex                         # for machines without a network

\b
Metrics: {metrics}
  ↓ lower is closer, ↑ higher is closer. `lite` (the default) needs no download. Options follow a name after colons:
  alex:weights=mine.safetensors  vgg:tower=PATH  ssim:matlab  psnr:lab  pixels:shift
  lite:max and lite:p99 are over the pixels of a pair, max(lite) and p95(lite) of --fail over pairs

\b
Exit status: 0 fine, 1 a --fail rule was crossed and nothing else, 2 bad input or a resource that ran out (memory, disk,
device, a closed output; 2 beats 1), 130 interrupted. Under torchrun the pairs are divided among the processes.

\b
Shell completion (for bash; zsh and fish are similar):
  eval "$(_COMPARE_IMAGES_COMPLETE=bash_source compare-images)"
""".format(metrics="  ".join(f"{name}{'↓' if m.direction == 'lower' else '↑'}" for name, m in MEASURES.items()))


class Images(Program):
    """A group whose default command is `compare`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["weights"] else ["compare", *args])


class CompareContext(click.Context):
    """A context with the program's name as its command path."""

    @property
    def command_path(self) -> str:
        return "compare-images"


class Compare(Command):
    """The default command, whose name is left out in its usage line."""

    context_class = CompareContext

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("compare-images", "[OPTIONS] REF IMAGE [IMAGE]...")
        formatter.write_usage("compare-images", "[OPTIONS] FOLDER FOLDER", "   or: ")
        formatter.write_usage("compare-images", "[OPTIONS] --pairs LIST.csv | --all-pairs FOLDER", "   or: ")
        formatter.write_usage("compare-images", "[OPTIONS] --layout NAME [FOLDER] [FOLDER]", "   or: ")
        formatter.write_usage("compare-images", "weights list|fetch|verify|convert", "   or: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options group by group."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                options = [p for p in self.get_params(ctx) if p.name in names]
                records = [p.get_help_record(ctx) for p in sorted(options, key=lambda p: names.index(p.name or ""))]
                formatter.write_dl([record for record in records if record])


GROUPS = {
    "What to compare": (
        *("pairs", "all_pairs", "ref_pattern", "image_pattern", "layout", "explain", "allow_unmatched", "strict"),
    ),
    "Metrics and pictures": (*("metrics", "convention", "mask", "ignore_boxes", "resize", "background", "max_pixels"),),
    "Output": ("format", "output", "resume", "heatmap", "overlay", "report", "report_pairs", "worst"),
    **TABLE_GROUPS,
    "Rules": ("rules", "junit"),
    "Machine": ("device", "precision", "batch_size", "workers", "debug", "version", "help"),
}


def parse_metric_names(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> list[MetricSpec]:
    """Parse `--metric a,b --metric c:option`."""
    try:
        return parse_metrics(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_size(ctx: click.Context, parameter: click.Parameter, value: str) -> str | tuple[int, int]:
    """Parse `--resize no|ref|crop|pad|WxH` into a word or (height, width)."""
    if value in ("no", "ref", "crop", "pad"):
        return value
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", value)
    if not match:
        raise click.BadParameter(f"{value!r}; expected no, ref, crop, pad or WIDTHxHEIGHT, like 256x256")
    return int(match[2]), int(match[1])


def parse_boxes(ctx: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Parse `--ignore-box X,Y,W,H`, each into (left, top, width, height)."""
    for text in value:
        if not re.fullmatch(r"-?[0-9]+,-?[0-9]+(,0*[1-9][0-9]*){2}", text):
            raise click.BadParameter(f"{text!r}; expected whole numbers left,top,width,height, like 0,0,200,40")
    return tuple(tuple(map(int, text.split(","))) for text in value)


@click.group(cls=Images)
def main() -> None:
    """Compare images as people see them."""


main.add_command(weights)


CONTEXT = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}
WORKERS = min(8, os.cpu_count() or 1)


@main.command(cls=Compare, epilog=EXAMPLES, context_settings=CONTEXT)
@click.argument("ref", type=FILE_PATH, required=False)
@click.argument("images", metavar="IMAGE", type=FILE_PATH, nargs=-1)
@click.option("--pairs", type=FILE_PATH, metavar="LIST.csv",
              help="Compare the pairs in this file's columns reference and image; other columns are kept.")  # fmt: skip
@click.option("--all-pairs", type=FILE_PATH, metavar="FOLDER", help="Compare all images in a folder with each other.")
@click.option("--ref-pattern", metavar="PATTERN", help='Pattern of references, like "gt/{name}.png".')
@click.option("--image-pattern", metavar="PATTERN",
              help='Pattern of images, like "out/{method}/{name}x4.*". Equal fields make pairs; all fields become '
              "columns. With two folders, the patterns are relative to them.")  # fmt: skip
@click.option("--layout", metavar="NAME",
              help=f"Both patterns by name: {', '.join(LAYOUTS)}. Relative to one folder, or to a folder of references "
              "and a folder of images.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Print the meaning of --layout or --convention, and exit.")
@click.option("--allow-unmatched", is_flag=True,
              help="Images that only one folder has (new, missing) are not an error; references without a mask are "
              "compared whole.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Stop at the first image that cannot be compared.")
@click.option("-m", "--metric", "metrics", multiple=True, default=["lite"], callback=parse_metric_names,
              help="Metrics, separated by commas.  [default: lite]")  # fmt: skip
@click.option("--convention", metavar="NAME",
              help=f"The metrics of a program, in place of lite or before those of --metric: {', '.join(CONVENTIONS)}.",
              )  # fmt: skip
@click.option("--mask", type=FILE_PATH, metavar="FILE|FOLDER",
              help="Compare only where this picture is white; a folder has one per reference, by name.")  # fmt: skip
@click.option("--ignore-box", "ignore_boxes", multiple=True, metavar="X,Y,W,H", callback=parse_boxes,
              help="Leave out a box of the reference's pixels: left, top, width, height. Repeatable.")  # fmt: skip
@click.option("--resize", default="no", show_default=True, metavar="no|ref|crop|pad|WxH", callback=parse_size,
              help="Resize images to the reference's size, or both to a fixed one; crop both to the middle that they "
              "share; pad both on the right and at the bottom.")  # fmt: skip
@click.option("--background", default="white", show_default=True, metavar="COLOR",
              help="Colour behind transparent pixels, and of padding: white, black, #rrggbb.")  # fmt: skip
@click.option("--max-pixels", type=click.IntRange(1), default=MAX_PIXELS, show_default=True,
              help="Largest number of pixels of an image; larger images are an error.")  # fmt: skip
@click.option("-f", "--format", type=click.Choice(["table", "json", "csv", "jsonl"]),
              help="Output format.  [default: by --output's suffix, else table]")  # fmt: skip
@click.option("-o", "--output", type=FILE_PATH,
              help="Write results to this file (.txt, .json, .csv, .jsonl); csv and jsonl row by row.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Continue --output where an interrupted run stopped.")
@click.option("--heatmap", metavar="PATH", help="Draw where the images differ: a file like heat.png, or a folder.")
@click.option("--overlay", is_flag=True, help="Draw the heatmap over the image.")
@click.option(
    "--report",
    type=FILE_PATH,
    metavar="PAGE.html",
    help="Write an interactive page: verdicts, worst pairs first, heatmaps, zoom, filters.",
)
@click.option("--report-pairs", type=click.IntRange(1, 2000), default=200, show_default=True,
              help="Largest number of pairs with pictures on that page.")  # fmt: skip
@click.option(
    "--worst", type=click.IntRange(1), default=10, show_default=True, help="Number of pairs to list in a summary."
)
@table_options
@click.option("--fail", "rules", multiple=True, metavar="RULE",
              help='Exit with status 1 if a pair crosses the rule, like "lite>0.2", or a statistic of all does, like '
              '"p95(lite)>0.1" (mean, median, p5, p95, min, max). Repeatable.')  # fmt: skip
@click.option("--junit", type=FILE_PATH, metavar="FILE.xml",
              help="Write JUnit XML, with a test case for each pair, which CI systems show.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="Device to compute on, like cuda or mps.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True,
              help="Precision of the features of towers.")  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Largest number of pairs at a time."
)
@click.option("--workers", type=click.IntRange(1), default=WORKERS, show_default=True, help="Decoding threads.")
@click.option("--debug", is_flag=True, help="Show a traceback with errors.")
@click.version_option(__version__, prog_name="compare-images")
@click.pass_context
def compare(ctx: click.Context, /, debug: bool, rules: tuple[str, ...], **options: Any) -> None:
    """Measure how far each IMAGE is from REF as people see it, or compare two folders by file name."""
    layout, convention = options.pop("layout"), options.pop("convention")
    if options.pop("explain"):
        explain(layout, convention)
        return
    if layout is not None:
        use_layout(layout, options)
    _check_what_to_compare(options)
    chosen = ctx.get_parameter_source("metrics") != ParameterSource.DEFAULT
    options["metrics"] = chosen_metrics(options["metrics"] if chosen else [], convention, options["curve"])
    from lpips_lite.cli.job import run
    from lpips_lite.cli.request import Request
    from lpips_lite.files.rules import parse_rule
    from lpips_lite.files.settings import Settings

    names = (*("ignore_boxes", "resize", "background", "max_pixels", "device", "precision", "batch_size", "workers"),)
    settings = Settings(**{name: options.pop(name) for name in names}, spell=spell_option)
    if options["output"] == STANDARD_INPUT:
        options["output"] = None  # "-" is stdout, as usual
    try:
        parsed = [parse_rule(text) for text in rules]
    except ValueError as error:
        raise ValueError(f"--fail {error}") from error
    tables = take_table_settings(options)
    ctx.exit(run(Request(**options, **tables, convention=convention, rules=parsed, settings=settings)))


def _check_what_to_compare(options: dict[str, Any]) -> None:
    """Raise a UsageError unless just one way of naming pairs is used."""
    patterns = [options["ref_pattern"] is not None, options["image_pattern"] is not None]
    if any(patterns):
        if not all(patterns):
            raise click.UsageError("expected --ref-pattern and --image-pattern together")
        if options["pairs"] or options["all_pairs"] or len(options["images"]) != int(options["ref"] is not None):
            raise click.UsageError("expected two folders with patterns, or nothing else to compare")
        return
    ways = sum((options["ref"] is not None, options["pairs"] is not None, options["all_pairs"] is not None))
    if ways == 0:
        raise click.UsageError("Missing argument 'REF'.")
    if ways > 1:
        raise click.UsageError("expected either REF and IMAGE, or --pairs, or --all-pairs")
    if options["ref"] is not None and not options["images"]:
        raise click.UsageError("Missing argument 'IMAGE'.")
