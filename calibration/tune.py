"""Train the tower too, together with its channel weights, on human judgments: triplets in, one weight file out.

    python -m calibration.tune DATA... --net lite --out tuned.safetensors            # from trained weights
    python -m calibration.tune DATA... --net alex --scratch --out scratch.safetensors  # from random ones

The variants that Zhang et al. (2018) call "tune" and "scratch". The objective is the logistic one of `calibration.fit`;
one reference in five is held out and says whether it helped. The paper found that tuning gains on the kinds of
distortion it is trained on and loses on others: judge it on kinds that are not in the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import Generator, Tensor, nn

from calibration.agreement import bootstrap, triplet_agreement
from calibration.features import data_argument, net_option, tower_option
from calibration.fit import Votes, folds_by_reference
from calibration.triplets import Triplet, load
from lpips_lite import LPIPS, read_image
from lpips_lite.cli_output import progress
from lpips_lite.distance import channel_differences, pool_mean, unit_normalize, weigh
from lpips_lite.weights import content_hash, save_tensors


class Tunable:
    """The tensors of a metric, trainable: tower, channel weights (kept ≥ 0) and the slope of the vote's probability."""

    def __init__(self, metric: LPIPS) -> None:
        self.spec, self.taps = metric.tower.spec, metric.tower.taps
        self.mean, self.std = metric.tower.tensors["mean"], metric.tower.tensors["std"]
        tower = {key: tensor for key, tensor in metric.tower.tensors.items() if key in self.spec.shapes()}
        self.tower = {key: tensor.clone().requires_grad_() for key, tensor in tower.items()}
        self.channels = [tensor.clone().requires_grad_() for tensor in metric.tensors.values()]
        self.log_slope = torch.zeros((), requires_grad=True)

    def distances(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return d0 and d1 of a batch (3N, 3, H, W) of references, first and second distortions."""
        features = self.spec.run((images - self.mean) / self.std, self.tower, self.taps)
        d0, d1 = images.new_zeros(()), images.new_zeros(())
        for feature, weight in zip(features, self.channels, strict=True):
            ref, p0, p1 = unit_normalize(feature).chunk(3)
            d0 = d0 + pool_mean(weigh(channel_differences(p0, ref), weight))
            d1 = d1 + pool_mean(weigh(channel_differences(p1, ref), weight))
        return d0, d1


def read_batch(triplets: Sequence[Triplet], side: int, generator: Generator) -> Tensor:
    """Read triplets and cut the same random square from the three images of each: (3N, 3, side, side)."""
    parts: list[list[Tensor]] = [[], [], []]
    for t in triplets:
        images = torch.stack([read_image(path) for path in (t.ref, t.p0, t.p1)])
        height, width = images.shape[2:]
        if min(height, width) < side:
            raise ValueError(f"--side {side}: {t.ref} is {width}×{height}; expected at least that size")
        top = int(torch.randint(height - side + 1, (), generator=generator))
        left = int(torch.randint(width - side + 1, (), generator=generator))
        for part, image in zip(parts, images[:, :, top : top + side, left : left + side], strict=True):
            part.append(image)
    return torch.stack([image for part in parts for image in part])


def train(
    model: Tunable, triplets: Sequence[Triplet], *, epochs: int, lr: float, side: int, batch: int, seed: int
) -> list[float]:
    """Maximise the likelihood of the votes; return the mean loss of each epoch."""
    generator = Generator().manual_seed(seed)
    parameters = [
        {"params": list(model.tower.values()), "lr": lr},
        {"params": model.channels, "lr": lr},
        {"params": [model.log_slope], "lr": 100 * lr},
    ]
    optimizer = torch.optim.Adam(parameters, betas=(0.5, 0.999))
    steps = -(-len(triplets) // batch) * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    votes, curve = Votes.of(triplets), []
    j, count = torch.from_numpy(votes.judgement).float(), torch.from_numpy(votes.count).float()
    for epoch in range(epochs):
        losses = []
        order = torch.randperm(len(triplets), generator=generator).tolist()
        for start in progress(range(0, len(order), batch), f"epoch {epoch + 1}"):
            rows = order[start : start + batch]
            d0, d1 = model.distances(read_batch([triplets[row] for row in rows], side, generator))
            logits = model.log_slope.exp() * (d0 - d1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, j[rows], weight=count[rows] / count.mean())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            for weight in model.channels:
                weight.data.clamp_(min=0)
            losses.append(loss.item())
        curve.append(float(np.mean(losses)))
    return curve


@torch.no_grad()
def evaluate(model: Tunable, triplets: Sequence[Triplet]) -> np.ndarray:
    """Return the agreement of each triplet, on whole images."""
    scores = []
    for t in progress(triplets, "evaluating"):
        d0, d1 = model.distances(torch.stack([read_image(path) for path in (t.ref, t.p0, t.p1)]))
        scores.append(triplet_agreement(d0.numpy(), d1.numpy(), [t.judgement]))
    return np.concatenate(scores)


@click.command(context_settings={"show_default": True})
@data_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@net_option
@tower_option
@click.option("--scratch", is_flag=True, help="Start from random tower weights and uniform channel weights.")
@click.option("--epochs", default=10, help="The rate falls over the second half.")
@click.option("--lr", default=1e-4)
@click.option("--side", default=64, help="Crops of this side, as in the paper.")
@click.option("--batch-size", default=50)
@click.option("--seed", default=0)
def main(
    data: tuple[Path, ...],
    out: Path,
    net: str,
    tower_weights: str | None,
    scratch: bool,
    epochs: int,
    lr: float,
    side: int,
    batch_size: int,
    seed: int,
) -> None:
    """Train tower and channel weights on human judgments."""
    if scratch:
        metric = LPIPS(net, channel_weights="uniform", tower_weights=f"random:{seed}")
    else:
        metric = LPIPS(net, tower_weights=tower_weights)
    triplets = load(data)
    votes, model = Votes.of(triplets), Tunable(metric)
    held_out = folds_by_reference(votes.reference, 5, seed) == 0
    test = [t for t, out_ in zip(triplets, held_out, strict=True) if out_]
    kept = [t for t, out_ in zip(triplets, held_out, strict=True) if not out_]
    before = evaluate(model, test)
    curve = train(model, kept, epochs=epochs, lr=lr, side=side, batch=batch_size, seed=seed)
    after = evaluate(model, test)
    chosen = votes.take(held_out)
    for name, scores in (("before", before), ("after", after), ("gain, paired", after - before)):
        found = bootstrap(scores, chosen.reference, chosen.count)
        interval = f"[{100 * found.low:.2f}, {100 * found.high:.2f}]"
        click.echo(f"{100 * found.value:6.2f} % {interval} of held-out votes  {name}")
    tensors = {**model.tower, **{f"channel_weights.{index}": weight for index, weight in enumerate(model.channels)}}
    metadata = {
        "net": net,
        "tower": content_hash(model.tower),
        "slope": f"{model.log_slope.exp().item():.6g}",
        "objective": "scratch" if scratch else "tune",
        "start": metric.signature,
        "recipe": f"epochs={epochs} lr={lr} side={side} batch={batch_size} seed={seed}",
        "triplets": f"{len(kept)}",
        "loss": " ".join(f"{loss:.4f}" for loss in curve),
    }
    save_tensors(out, tensors, metadata)
    shown = str(out)
    click.echo(f"wrote {out}: use it as LPIPS({net!r}, tower_weights={shown!r}, channel_weights={shown!r})")


if __name__ == "__main__":
    main()
