"""Names that the command knows: layouts of files, which stand for patterns, and conventions, for metrics."""

from __future__ import annotations

from typing import Any

import click

from lpips_lite.catalog import MetricSpec, parse_metric
from lpips_lite.cli.terminal import show, spell_option
from lpips_lite.conventions import find_convention
from lpips_lite.files.layouts import find_layout


def explain(layout: str | None, convention: str | None) -> None:
    """Print the meaning of a layout and a convention."""
    if layout is None and convention is None:
        raise click.UsageError("--explain: expected --layout or --convention with it")
    if layout is not None:
        found = find_layout(layout, spell_option("layout", layout))
        show(f'# {found.program}\n--ref-pattern "{found.ref_pattern}" --image-pattern "{found.image_pattern}"')
    if convention is not None:
        whose, metrics = find_convention(convention, spell_option("convention", convention))
        show(f"# {whose}\n--metric {','.join(metrics)}")


def use_layout(layout: str, options: dict[str, Any]) -> None:
    """Set the patterns of a layout in the options; a single folder is used for both sides."""
    others = ("ref_pattern", "image_pattern", "pairs", "all_pairs")
    if any(options[name] is not None for name in others) or len(options["images"]) > 1:
        raise click.UsageError("expected one or two folders with --layout, or nothing else to compare")
    _, options["ref_pattern"], options["image_pattern"] = find_layout(layout, spell_option("layout", layout))
    if options["ref"] is not None and not options["images"]:
        options["images"] = (options["ref"],)


def chosen_metrics(given: list[MetricSpec], convention: str | None, curve: tuple[str, str] | None) -> list[MetricSpec]:
    """Return the metrics to measure: those of a convention, the given ones and those of a curve; by default lite."""
    from lpips_lite.files.rate_distance import metrics_of

    own = find_convention(convention, spell_option("convention", convention)).metrics if convention else ()
    try:
        drawn = metrics_of(*curve) if curve else []
    except ValueError as error:
        raise ValueError(f"--curve {' '.join(curve or ())}: {error}") from error
    return list(dict.fromkeys([*map(parse_metric, own), *given, *map(parse_metric, drawn)])) or [parse_metric("lite")]
