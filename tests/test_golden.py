"""Golden numbers of the embedded metric: if they change, weights or arithmetic did, and a version must, too."""

import pytest
import torch

from lpips_lite import LPIPS, read_image
from tests.conftest import ROOT

SIGNATURE = "lpips-lite/1.0 net=lite tower=60ccb2b9 weights=lite-0.4-77f49e32 heads=2"
GOLDEN = {"blur": 0.1449338, "jpeg": 0.09740795, "noise": 0.1344405, "shift": 0.05375889}


def test_signature_of_the_embedded_metric():
    assert LPIPS("lite").signature == SIGNATURE


@pytest.mark.parametrize("name", GOLDEN)
def test_distances_of_the_example_images(name):
    scene, image = (read_image(ROOT / f"examples/images/{n}.png")[None] for n in ("scene", f"scene_{name}"))
    assert LPIPS("lite")(image, scene).item() == pytest.approx(GOLDEN[name], rel=1e-5)


def test_distance_of_generated_images():
    across = torch.linspace(0, 1, 48).expand(1, 3, 40, 48)
    assert LPIPS("lite")(across, across.flip(-1)).item() == pytest.approx(0.2453749, rel=1e-5)
