"""Options of the table of groups and of rate-distance curves."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import click

from lpips_lite.cli.paths import FILE_PATH
from lpips_lite.cli.terminal import spell_option

F = TypeVar("F", bound=Callable[..., Any])

TABLE_GROUPS = {  # heading in the help -> options
    "Tables of groups": ("by", "table", "statistic", "interval", "against", "psnr_of_mean_mse"),
    "Rate-distance curves": ("curve", "anchor", "curve_files", "interpolation"),
}
_OPTIONS = (
    click.option(
        "--by",
        metavar="COLUMN,…",
        help="Print statistics of groups: pairs with the same value of a pattern's field or a list's column.",
    ),
    click.option(
        "--table",
        type=FILE_PATH,
        metavar="FILE",
        help="Also write this table to a file: .md, .tex (booktabs), .csv or .json.",
    ),
    click.option(
        "--statistic",
        type=click.Choice(["mean", "median", "p5", "p95", "min", "max"]),
        default="mean",
        show_default=True,
        help="Statistic of each group.",
    ),
    click.option("--interval", is_flag=True, help="Add 95 % intervals, by bootstrap over images."),
    click.option(
        "--against",
        metavar="VALUE",
        help="Add the difference from the group with this value, over the same images, its interval, and the share "
        "of images that are better.",
    ),
    click.option(
        "--psnr-of-mean-mse", is_flag=True, help="Add the PSNR of the mean squared error to the mean of PSNRs."
    ),
    click.option(
        "--curve",
        nargs=2,
        metavar="RATE METRIC",
        help="Draw curves of METRIC over RATE (bpp, bytes, a column), one per value of the first column of --by, and "
        "print BD-rate and BD-distance against the first one.",
    ),
    click.option("--anchor", metavar="VALUE", help="Compare curves with this one instead of the first."),
    click.option(
        "--curve-files",
        type=FILE_PATH,
        metavar="STEM",
        help="Write curves to STEM.svg, .png and .csv.  [default: RATE-METRIC]",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["akima", "pchip"]),
        default="akima",
        show_default=True,
        help="Interpolation of curves over the logarithm of the rate.",
    ),
)


def table_options(command: F) -> F:
    """Add the options to a command."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


def take_table_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of tables and curves out of all options, and return the fields of `Request` for them."""
    from lpips_lite.files.curve_output import usual_stem
    from lpips_lite.files.group_table import TableSettings
    from lpips_lite.files.rate_distance import CurveSettings, metrics_of

    by, curve, stem = options.pop("by"), options.pop("curve"), options.pop("curve_files")
    interpolation, anchor = options.pop("interpolation"), options.pop("anchor")
    own = {name: options.pop(name) for name in ("statistic", "interval", "against", "psnr_of_mean_mse")}
    if curve is None:
        _refuse_without("curve", {"curve_files": stem, "anchor": anchor, "interpolation": interpolation != "akima"})
    if by is None:
        lonely = {"table": options["table"], **own, "statistic": own["statistic"] != "mean", "curve": curve}
        _refuse_without("by", lonely)
        return {"groups": None, "curves": None}
    groups = TableSettings(tuple(name.strip() for name in by.split(",")), **own, spell=spell_option)
    if curve is None:
        return {"groups": groups, "curves": None}
    distance, rate = [*metrics_of(*curve), curve[0]][:2]
    drawn = CurveSettings(rate, distance, anchor, interpolation, spell_option)
    return {"groups": groups, "curves": (drawn, stem or usual_stem(rate, distance))}


def _refuse_without(needed: str, given: dict[str, Any]) -> None:
    """Raise a UsageError if an option is given that means nothing without another one."""
    for name, value in given.items():
        if value not in (None, False):
            raise click.UsageError(f"--{name.replace('_', '-')}: expected --{needed} with it")
