"""The command `compare-images weights`: list, fetch, verify and convert weight files, for use without a network."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lpips_lite.cli.terminal import FAILED, interrupts_raise, show

NETS = ("alex", "vgg", "vgg19", "squeeze")


@click.group()
def weights() -> None:
    """List, fetch, verify and convert weight files."""
    interrupts_raise()


@weights.command("list")
def list_files() -> None:
    """List towers and channel weights, their licences, where they are on this machine, and their hashes."""
    from rich import box
    from rich.table import Table

    from lpips_lite import manifest
    from lpips_lite.cli.tables import to_text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("weights", "MB", "here", "licence", "known by"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    places: list[tuple[manifest.WeightFile, Path | str | None]] = [(manifest.EMBEDDED, "in the package")]
    places += [(entry, manifest.find_tower(net)) for net, entry in manifest.TOWER_FILES.items()]
    places += [(entry, manifest.find_channel_file(entry)) for entry in manifest.CHANNEL_FILES.values()]
    for entry, place in places:
        known_by = f"content {entry.content[:8]}" if entry.content else f"sha256 {entry.sha256[:8]}"
        table.add_row(entry.name, f"{entry.megabytes:g}", str(place or "no"), entry.licence, known_by)
    show(to_text(table, f"folder: {manifest.home()}", terminal=sys.stdout.isatty()).rstrip("\n"))


@weights.command()
@click.argument("nets", metavar="NET...", type=click.Choice(NETS), nargs=-1, required=True)
def fetch(nets: tuple[str, ...]) -> None:
    """Download and keep the weights of each NET: alex, vgg, vgg19 (tower only) or squeeze."""
    from lpips_lite import manifest, weights as weight_files
    from lpips_lite.towers import TOWERS

    for net in nets:
        weight_files.load_tower(net, None, TOWERS[net].shapes())
        show(manifest.find_tower(net))
        if (net, "v0.1") in manifest.CHANNEL_FILES:
            weight_files.load_channel_weights(net, "v0.1", [tap.channels for tap in TOWERS[net].find_taps()])
            show(manifest.find_channel_file(manifest.CHANNEL_FILES[net, "v0.1"]))


@weights.command()
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Check every weight file on this machine, and say what shows that it is the published one."""
    from lpips_lite import weights as weight_files
    from lpips_lite.towers import TOWERS

    bad = False
    for path, check in weight_files.present_files({net: spec.shapes() for net, spec in TOWERS.items()}):
        try:
            show(f"good  {path}: {check()}")
        except (ValueError, OSError) as error:
            bad = True
            show(f"BAD   {path}: {error}")
    ctx.exit(FAILED if bad else 0)


@weights.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: NET-features.safetensors]"
)
def convert(checkpoint: Path, output: Path | None) -> None:
    """Keep only the convolutions of a torchvision CHECKPOINT: 10 MB instead of 244 for AlexNet."""
    from lpips_lite import weights as weight_files
    from lpips_lite.files.outputs import check_outputs
    from lpips_lite.towers import TOWERS

    problems = []
    for net in NETS:
        out = output or Path(f"{net}-features.safetensors")
        check_outputs([("--output", out)], [("the checkpoint", checkpoint)])
        try:
            tower = weight_files.convert_tower(net, checkpoint, out, TOWERS[net].shapes())
        except ValueError as error:
            problems.append(f"{net}: {error}")
            continue
        kind = "the published" if tower.published else "a custom"
        show(f"{out}: {kind} {net} tower, {out.stat().st_size / 1e6:.1f} MB; use it as --metric {net}:tower={out}")
        return
    raise ValueError("\n  ".join([f"{checkpoint} fits none of {', '.join(NETS)}", *(text[:200] for text in problems)]))
