"""The distortion library: in range, reproducible, and stronger at higher levels."""

import pytest
import torch

from lpips_lite import l2, read_image
from lpips_lite.votes.distort import DISTORTIONS, distort
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def photos():
    """Eight different crops of the example scene, (8, 3, 64, 72)."""
    scene = read_image(ROOT / "examples/images/scene.png")
    return torch.stack([scene[:, top : top + 64, left : left + 72] for top in (60, 150) for left in (0, 60, 120, 180)])


@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_distortion(name, photos):
    errors = []
    for level in (0.0, 0.35, 0.7, 1.0):
        levels = torch.full((8,), level)
        first, second = (distort(photos, name, levels, torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(first, second)
        assert first.shape == photos.shape
        assert first.min() >= 0
        assert first.max() <= 1
        torch.testing.assert_close(first * 255, (first * 255).round(), rtol=0, atol=1e-4)
        errors.append(l2(first, photos).mean().item())
    assert errors == sorted(errors)
    assert errors[0] < 0.01 < errors[-1] * 40
    assert errors[-1] > 4 * errors[0]


@pytest.mark.parametrize("name", sorted(DISTORTIONS.keys() - {"blend"}))  # blend mixes the batch by design
def test_levels_belong_to_images(name, photos):
    """The distortion of the first image depends only on its own level."""
    low = distort(photos, name, torch.full((8,), 0.5), torch.Generator().manual_seed(1))
    mixed = distort(photos, name, torch.linspace(0.5, 1, 8), torch.Generator().manual_seed(1))
    assert (low[0] - mixed[0]).abs().max() <= 1 / 255
    assert not torch.equal(low[7], mixed[7])
