"""Paint a photograph in the manner of another picture, by descent on the Gram distance to that.

    python -m examples.style_transfer

A Gram matrix says which features of a tower occur together but not where: texture and colours without places. Places
are held by the content distance. VGG-16's weights are used if they are on this machine (`compare-images weights fetch
vgg`), otherwise random ones of the same network: its shape alone makes textures (Ustyuzhaninov et al.). The embedded
tower is too small for this; noise has the Gram matrices that are asked for, too.

Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks, CVPR 2016.
Ustyuzhaninov, Brendel, Gatys, Bethge: What does it take to generate natural textures?, ICLR 2017.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from torch import Tensor

from examples.pictures import GALLERY, descend, is_here, photo, print_table, save_grid, shrink
from lpips_lite import ContentLoss, FeatureTower, GramLoss
from lpips_lite.baselines.style import JOHNSON_TAPS

CONTENT = 0.03  # weight of the content distance, both distances being 1 at the start


class Distances:
    """Distances of an image from a style and from a content, as shares of what they are between these two."""

    def __init__(self, gram: GramLoss, place: ContentLoss, style: Tensor, content: Tensor) -> None:
        self.gram, self.place, self.style, self.content = gram, place, style, content
        with torch.no_grad():
            self.scales = gram(content, style), place(style, content)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance from the style and from the content."""
        return self.gram(x, self.style) / self.scales[0], self.place(x, self.content) / self.scales[1]

    def loss(self, x: Tensor) -> Tensor:
        """Return the weighted sum of both."""
        style, content = self(x)
        return style + CONTENT * content


@click.command(context_settings={"show_default": True})
@click.option("--steps", default=100)
@click.option("--out", type=click.Path(path_type=Path), default=GALLERY / "style_transfer.png")
def main(steps: int, out: Path) -> None:
    """Paint a cat in three styles; print the distances; save a picture."""
    content = shrink(photo("chelsea")[..., 10:290, 90:370], 2)
    side = content.shape[-1]
    styles = {
        "tissue": shrink(photo("immunohistochemistry"), 3),
        "retina": shrink(photo("retina")[..., 130:1250, 130:1250], 8),
        "galaxies": shrink(photo("hubble_deep_field"), 3),
    }
    styles = {name: style[..., :side, :side] for name, style in styles.items()}
    weights = None if is_here("vgg") else "random:0"
    gram = GramLoss(FeatureTower("vgg", taps=JOHNSON_TAPS, weights=weights, pooling="average"))
    place = ContentLoss(FeatureTower("vgg", taps=["relu3_3"], weights=weights, pooling="average"))
    painted, rows = [], {}
    for name, style in styles.items():
        distances = Distances(gram, place, style, content)
        painted.append(descend(content, distances.loss, steps, 0.03, name))
        with torch.no_grad():
            rows[f"painted as {name}"] = dict(
                zip(("style ↓", "content ↓"), map(float, distances(painted[-1])), strict=True)
            )
    print_table(rows)
    columns = {"photograph": [content] * len(styles), "style": list(styles.values()), "painted": painted}
    save_grid({title: torch.cat(images) for title, images in columns.items()}, out, zoom=2)


if __name__ == "__main__":
    main()
