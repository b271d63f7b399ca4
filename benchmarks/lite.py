"""Compare the embedded `lite` metric with LPIPS-alex: agreement, order, tolerance of shifts, speed.

    python benchmarks/lite.py --photos PHOTOS.tar --teacher ALEXNET.pth

Photographs are those held out by `calibration.distill`, every 14th of a pool that may contain other crops of them, with
seeds of distortions that are not used there. `--lite FILE` measures another tower and channel weights.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, from a clone

import click
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Generator, Tensor

from benchmarks.sidebyside import interleave, outcome, ratio
from calibration.auxiliary_losses import BLUR_LEVEL
from calibration.distill import correlations
from calibration.distorted_twice import HELD_OUT_KINDS, TRAINED_KINDS
from calibration.photographs import HOLD_OUT_EVERY, crop, read_photos
from lpips_lite import LPIPS
from lpips_lite.terminal import progress
from lpips_lite.votes.distort import DISTORTIONS, distort
from tests.peers import upstream

SEED = 2**32  # distill evaluates with 2³¹ and trains with small seeds
LEVELS = torch.linspace(0, 1, 6).tolist()  # equal geometric steps of each distortion's parameter
SHIFTS = ((0, 1), (1, 0), (1, 1)), ((0, 2), (2, 0), (2, 2))  # by 1 px and by 2 px

Metrics = dict[str, LPIPS]


@torch.no_grad()
def distances_by_kind(
    metrics: Metrics, photos: Tensor, kinds: Sequence[str], count: int, side: int
) -> dict[str, dict[str, Tensor]]:
    """Return the distances of `count` crops from their distorted copies, for each kind of distortion and metric."""
    generator, found = Generator().manual_seed(SEED + side), {}
    for kind in progress(kinds, f"{side}×{side}"):
        ref = crop(photos, count, side, generator)
        image = distort(ref, kind, torch.rand(count, generator=generator), generator)
        found[kind] = {name: metric(image, ref) for name, metric in metrics.items()}
    return found


@torch.no_grad()
def order(metrics: Metrics, photos: Tensor, count: int, side: int) -> dict[str, tuple[float, float, str]]:
    """Return how often the stronger of two neighbouring levels has the larger distance.

    Returns:
        For each metric: the share for all neighbours, the share for those at least 1 dB of PSNR apart, and the kinds of
        distortion that are worst by the first.
    """
    generator = Generator().manual_seed(SEED)
    right: dict[str, dict[str, Tensor]] = {name: {} for name in metrics}
    apart = {}
    for kind in progress(list(DISTORTIONS), "order"):
        ref, seed = crop(photos, count, side, generator), int(torch.randint(2**40, (), generator=generator))
        images = [distort(ref, kind, torch.full((count,), x), Generator().manual_seed(seed)) for x in LEVELS]
        decibels = torch.stack(
            [-10 * (image - ref).square().mean((1, 2, 3)).clamp_min(1e-9).log10() for image in images]
        )
        apart[kind] = decibels[:-1] - decibels[1:] >= 1
        for name, metric in metrics.items():
            d = torch.stack([metric(image, ref) for image in images])
            right[name][kind] = d[1:] > d[:-1]
    found = {}
    for name, by_kind in right.items():
        share = {kind: value.float().mean().item() for kind, value in by_kind.items()}
        wide = torch.cat([value[apart[kind]] for kind, value in by_kind.items()]).float().mean().item()
        worst = ", ".join(f"{kind} {share[kind]:.2f}" for kind in sorted(share, key=share.__getitem__)[:3])
        found[name] = statistics.mean(share.values()), wide, worst
    return found


def blur_faintly(photos: Tensor) -> tuple[Tensor, Tensor]:
    """Return 200 photographs and copies blurred with σ = 0.5 px."""
    images = photos[:200].float() / 255
    return images, distort(images, "gaussian_blur", torch.full((len(images),), BLUR_LEVEL), Generator())


@torch.no_grad()
def shift_ratios(metric: LPIPS, photos: Tensor) -> list[float]:
    """Return the median distances of shifts by 1 px and 2 px, relative to that of a faint blur."""
    images, blurred = blur_faintly(photos)
    inner = slice(4, -4)
    ref = images[:, :, inner, inner]
    blur = metric(blurred[:, :, inner, inner], ref)
    ratios = []
    for offsets in SHIFTS:
        moved = [metric(images.roll((-down, -right), (2, 3))[:, :, inner, inner], ref) for down, right in offsets]
        ratios.append((torch.stack(moved).mean(0) / blur).median().item())
    return ratios


@torch.no_grad()
def size_ratio(metric: LPIPS, photos: Tensor) -> float:
    """Return the median distance of a faint blur of the middle 48×48 pixels, relative to the whole photograph."""
    images, blurred = blur_faintly(photos)
    middle = slice(32, -32)
    small = metric(blurred[:, :, middle, middle], images[:, :, middle, middle])
    return float((small / metric(blurred, images)).median())


@torch.no_grad()
def correlations_with(teacher: LPIPS, metrics: Metrics, photos: Tensor) -> dict[str, list[float]]:
    """Return how similarly each metric and a teacher order images, as Spearman's correlation.

    It is the mean over images of the correlation over the images each is compared with: once the copies of the same
    photograph, and once all images of a batch, as in `calibration.distill`.
    """
    judges = {name: metric.pairwise for name, metric in metrics.items()}
    return correlations(judges, teacher.pairwise, photos, SEED)


@torch.no_grad()
def patch_ratios(metric: LPIPS, photos: Tensor) -> list[float]:
    """Return the median distance of a changed patch of 32×32 pixels in 256×256 and 1024×1024, relative to 64×64.

    The patch comes from another photograph; the larger images are the photograph mirrored at its borders.
    """
    found = []
    for number in range(min(24, len(photos) // 2)):
        photo, patch = (photos[k : k + 1, :, :64, :64].float() / 255 for k in (2 * number, 2 * number + 1))
        row = []
        for side in (64, 256, 1024):
            tile = torch.cat([torch.cat([photo, photo.flip(3)], 3), torch.cat([photo, photo.flip(3)], 3).flip(2)], 2)
            image = tile.repeat(1, 1, -(-side // 128), -(-side // 128))[:, :, :side, :side]
            changed = image.clone()
            changed[:, :, 16:48, 16:48] = patch[:, :, 16:48, 16:48]
            row.append(metric(changed, image).item())
        found.append([row[1] / row[0], row[2] / row[0]])
    return torch.tensor(found).median(0).values.tolist()


@torch.no_grad()
def quarters_ratio(metric: LPIPS, photos: Tensor) -> float:
    """Return the median ratio of the mean distance of quarters to that of the whole, with noise in one quarter."""
    images, changed = photos[:200].float() / 255, photos[:200].float() / 255
    changed[:, :, :56, :56] = distort(
        images[:, :, :56, :56], "white_noise", torch.full((len(images),), 0.6), Generator()
    )
    corners = [(rows, columns) for rows in (slice(0, 56), slice(56, 112)) for columns in (slice(0, 56), slice(56, 112))]
    quarters = torch.stack([metric(changed[:, :, r, c], images[:, :, r, c]) for r, c in corners]).mean(0)
    return float((quarters / metric(changed, images)).median())


@click.command(context_settings={"show_default": True})
@click.option("--photos", type=click.Path(exists=True, path_type=Path), required=True, help="Tar or folder of photos.")
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), required=True, help="AlexNet weights.")
@click.option(
    "--lite", "file", type=click.Path(exists=True, path_type=Path), help="File to use instead of the embedded weights."
)
@click.option("--count", type=click.IntRange(5), default=100, help="Crops per kind of distortion and size.")
def main(photos: Path, teacher: Path, file: Path | None, count: int) -> None:
    """Print one Markdown table."""
    pool = read_photos(photos)[::HOLD_OUT_EVERY]
    lite = LPIPS("lite", tower_weights=file, channel_weights=file or "calibrated", reduction="none")
    alex = LPIPS("alex", tower_weights=teacher, reduction="none")
    uniform = LPIPS("alex", tower_weights=teacher, channel_weights="uniform", reduction="none")
    click.echo(f"{lite.signature} against {alex.signature}\n")
    click.echo("| measure | lite | alex | alex, uniform weights |\n|---|---|---|---|")
    metrics = {"lite": lite, "alex": alex, "uniform": uniform}
    for kinds, what in ((TRAINED_KINDS, "kinds distilled on"), (HELD_OUT_KINDS, "kinds held out")):
        for side in (64, 112):
            found = distances_by_kind(metrics, pool, kinds, count, side)
            d = {name: torch.cat([row[name] for row in found.values()]) for name in metrics}
            for measure, correlation in (("Spearman", spearmanr), ("Pearson", pearsonr)):
                values = [f"{correlation(d[name], d['alex']).statistic:.3f}" for name in metrics]
                click.echo(
                    f"| {measure} with alex, {len(d['alex'])} pairs at {side}×{side}, {what} | {' | '.join(values)} |"
                )
    ordered = order(metrics, pool, count // 5, 96)
    for position, what in enumerate(("all neighbouring levels", "levels ≥ 1 dB PSNR apart")):
        values = [f"{100 * float(ordered[name][position]):.1f} %" for name in metrics]
        click.echo(f"| stronger is farther, {what} | {' | '.join(values)} |")
    click.echo(f"| kinds worst ordered | {' | '.join(ordered[name][2] for name in metrics)} |")
    shifts = {name: shift_ratios(metric, pool) for name, metric in metrics.items()}
    for pixels in (1, 2):
        values = [f"{shifts[name][pixels - 1]:.2f}" for name in metrics]
        click.echo(f"| shift by {pixels} px, relative to a blur of σ = 0.5 px | {' | '.join(values)} |")
    values = [f"{size_ratio(metric, pool):.2f}" for metric in metrics.values()]
    click.echo(f"| blur of σ = 0.5 px in 48×48, relative to 112×112 | {' | '.join(values)} |")
    alike = correlations_with(uniform, metrics, pool)
    for position, what in enumerate(("copies of one photograph", "copies of several photographs")):
        values = [f"{alike[name][position]:.3f}" for name in metrics]
        click.echo(f"| Spearman with alex, uniform weights, over {what} | {' | '.join(values)} |")
    patches = {name: patch_ratios(metric, pool) for name, metric in metrics.items()}
    for position, side in enumerate((256, 1024)):
        values = [f"{patches[name][position]:.3f}" for name in metrics]
        click.echo(f"| one changed patch of 32×32 pixels in {side}×{side}, relative to 64×64 | {' | '.join(values)} |")
    values = [f"{quarters_ratio(metric, pool):.2f}" for metric in metrics.values()]
    click.echo(f"| noise in one quarter: mean distance of the quarters, relative to the whole | {' | '.join(values)} |")
    peer = upstream("alex", torch.load(teacher, weights_only=True))
    x, y = torch.rand(4, 3, 256, 256), torch.rand(4, 3, 256, 256)
    contenders = {
        "lite": lambda: outcome(lite, x, y, backward=False),
        "peer": lambda: outcome(lambda x, y: peer(x, y, normalize=True), x, y, backward=False),
    }
    seconds, _ = interleave(contenders, repeats=15, title="speed")
    times, threads = ratio(seconds["lite"], seconds["peer"]), torch.get_num_threads()
    click.echo(f"| speed relative to `lpips` alex, 4 pairs at 256×256, {threads} threads | {times} | | |")


if __name__ == "__main__":
    main()
