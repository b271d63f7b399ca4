"""Make a small set of triplets in the format of BAPPS from the example scene, to try `lpips-votes` and the benchmark.

    python -m examples.make_triplets FOLDER

The judgments are made by a rule, not by people: of two strengths of one distortion, the weaker is closer.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Generator

from lpips_lite import read_image
from lpips_lite.votes.distort import DISTORTIONS, distort

SCENE = Path(__file__).parent / "images/scene.png"
SIDE = 64


def make_triplets(folder: Path, count: int, seed: int = 0) -> Path:
    """Write `ref/ p0/ p1/ judge/` with `count` triplets into a folder and return it."""
    scene, generator = read_image(SCENE), Generator().manual_seed(seed)
    kinds = sorted(DISTORTIONS.keys() - {"blend"})  # which needs other images to mix in
    for part in ("ref", "p0", "p1", "judge"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        top, left = torch.randint(scene.shape[1] - SIDE, (2,), generator=generator).tolist()
        kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
        levels = torch.rand(2, generator=generator)
        ref = scene[None, :, top : top + SIDE, left : left + SIDE]
        copies = [distort(ref, kind, level[None], generator) for level in levels]
        for part, image in zip(("ref", "p0", "p1"), (ref, *copies), strict=True):
            pixels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / part / f"{number:06}.png")
        np.save(folder / "judge" / f"{number:06}.npy", np.array([float(levels[1] < levels[0])], dtype=np.float32))
    return folder


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", default=240, show_default=True)
def main(folder: Path, count: int) -> None:
    """Write machine-made triplets into FOLDER."""
    click.echo(make_triplets(folder, count))


if __name__ == "__main__":
    main()
