"""Auxiliary losses, each compared with an independent computation or checked by what it must not do."""

import numpy as np
import piq
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr
from torch import Generator

from calibration.auxiliary_losses import MDSI_PHOTOS
from calibration.plain_metric import PlainMetric
from lpips_lite import LPIPS
from lpips_lite.towers import TOWERS


class Seeing(PlainMetric):
    """A metric whose features are computed by a function."""

    def __init__(self, see):
        super().__init__(TOWERS["alex"], PlainMetric.of(random_metric("alex")).tensors)
        self.features, self.channels = see, [torch.ones(3)]


def random_metric(net):
    return LPIPS(net, tower_weights="random:1", channel_weights="uniform", reduction="none")


def test_the_mdsi_loss_is_correlation_with_mdsi(losses):
    metric = random_metric("lite")
    images = losses.mdsi_batches[1][0].float() / 255
    per_photo = []
    for number, ref in enumerate(images[:MDSI_PHOTOS]):
        copies = images[MDSI_PHOTOS + number :: MDSI_PHOTOS]
        half, half_ref = (F.interpolate(x, scale_factor=0.5, mode="area") for x in (copies, ref.expand_as(copies)))
        expected = piq.mdsi(half, half_ref, reduction="none")
        per_photo.append(pearsonr((metric(copies, ref.expand_as(copies)) + 1e-4).log(), expected).statistic)
    assert np.ptp(per_photo) > 0.01  # so that mixing up the copies of two photographs would be noticed
    found = losses.mdsi_loss(PlainMetric.of(metric), 1).item()
    assert found == pytest.approx(1 - np.mean(per_photo), abs=0.01)


def test_the_shift_loss_compares_with_a_blur(losses):
    def shifts_invisible(images):
        return [images.mean((2, 3), keepdim=True)]

    def only_edges(images):
        return [torch.relu(images.diff(dim=-1)) + 1e-6]

    edges = losses.shift_loss(Seeing(only_edges), Generator().manual_seed(0)).item()
    flat = losses.shift_loss(Seeing(shifts_invisible), Generator().manual_seed(0)).item()
    assert edges > 0.2
    assert flat == 0


def test_the_shift_loss_does_not_teach_to_see_blur(losses):
    metric = PlainMetric.of(random_metric("lite"))
    ref, blurred = (torch.zeros(8, 3, 96, 96, requires_grad=True) for _ in range(2))
    shifted = torch.rand(8, 3, 96, 96, requires_grad=True)  # far, so that there is something to improve
    see = metric.features
    metric.features = lambda images: see(images + torch.cat([ref, shifted, blurred]))
    losses.shift_loss(metric, Generator().manual_seed(0)).backward()
    assert shifted.grad.abs().sum() > 0
    assert blurred.grad.abs().sum() == 0


def test_images_descend_and_the_teacher_judges_them(losses):
    metric, generator = random_metric("lite"), Generator().manual_seed(0)
    plain = PlainMetric.of(metric)
    descending = losses.start_descents(64, generator)

    def mean_distance():
        with torch.no_grad():
            return metric(descending.images, descending.ref).mean()

    before = mean_distance()
    for _ in range(8):
        losses.descent_loss(plain, descending, generator)
    assert mean_distance() < before
    assert descending.images.min() >= 0
    assert descending.images.max() <= 1
    weights = plain.channels
    plain.channels = [1e-6 * weight for weight in weights]
    assert losses.descent_loss(plain, descending, generator) > 0.1  # smaller distances than the teacher
    plain.channels = [1e6 * weight for weight in weights]
    assert losses.descent_loss(plain, descending, generator) == 0  # larger distances
