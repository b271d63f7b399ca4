"""Paint photographs in the style of other pictures, by gradient descent on the Gram distance to these.

    python -m examples.style_transfer

A Gram matrix says which features of a tower occur together but not where: texture and colours without places. The
content distance keeps the places. Both are read from VGG-16: from the file of --weights, else from one that is on this
machine (`compare-images weights fetch vgg`), else with random weights: the architecture alone makes textures
(Ustyuzhaninov et al.). The embedded tower is too small for this: noise can have the wanted Gram matrices, too.

Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks, CVPR 2016.
Ustyuzhaninov, Brendel, Gatys, Bethge: What does it take to generate natural textures?, ICLR 2017.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from examples.pictures import GALLERY, descend, is_here, photo, print_table, save_grid
from examples.styles import make_style
from lpips_lite import FeatureTower, gram_matrix
from lpips_lite.baselines.style import JOHNSON_TAPS

PLACES = JOHNSON_TAPS.index("relu3_3")  # the tap whose features are the content
CONTENT = 0.05  # weight of the content distance, both distances being 1 at the start
SUBJECTS = {  # style: what is painted in it, and its square's top, left and side
    "stained glass": ("chelsea", 10, 90, 280),
    "ink": ("astronaut", 0, 84, 290),
    "whirls": ("rocket", 0, 110, 427),
}


class Distances:
    """Distances of an image from a style and from a content, as fractions of those between these two.

    They are those of `GramLoss`, with equal weight for each tap, and `ContentLoss`, with all features from one pass.
    """

    def __init__(self, tower: FeatureTower, style: Tensor, content: Tensor) -> None:
        self.tower = tower
        with torch.no_grad():
            self.grams = [gram_matrix(features) for features in tower(style)]
            self.places = tower(content)[PLACES]
            grams = [gram_matrix(features) for features in tower(content)]
            self.scales = [F.mse_loss(x, y) for x, y in zip(grams, self.grams, strict=True)]
            self.scale = F.mse_loss(tower(style)[PLACES], self.places)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance from the style and from the content."""
        features = self.tower(x)
        shares = [
            F.mse_loss(gram_matrix(found), wanted) / scale
            for found, wanted, scale in zip(features, self.grams, self.scales, strict=True)
        ]
        return torch.stack(shares).mean(), F.mse_loss(features[PLACES], self.places) / self.scale

    def loss(self, x: Tensor) -> Tensor:
        """Return the weighted sum of both."""
        style, content = self(x)
        return style + CONTENT * content


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=40)
@click.option("--side", default=224, help="Side of the pictures, in pixels.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Weights of VGG-16.")
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "style_transfer.png")
def main(steps: int, side: int, weights: Path | None, out: Path) -> None:
    """Paint three photographs in three styles; print the distances; save a picture."""
    source = weights or (None if is_here("vgg") else "random:0")
    tower = FeatureTower("vgg", taps=JOHNSON_TAPS, weights=source, pooling="average")
    columns, rows = {}, {}
    for name, (subject, top, left, size) in SUBJECTS.items():
        square = photo(subject)[..., top : top + size, left : left + size]
        content = F.interpolate(square, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        style = make_style(name, side)
        distances = Distances(tower, style, content)
        painted = descend(content, distances.loss, steps, 0.04, name)
        with torch.no_grad():
            rows[f"{subject} in {name}"] = dict(
                zip(("style ↓", "content ↓"), map(float, distances(painted)), strict=True)
            )
        columns[name] = torch.cat([content, style, painted])
    print_table(rows)
    save_grid(columns, out, zoom=1)


if __name__ == "__main__":
    main()
