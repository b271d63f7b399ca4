"""Small data for the tests of calibration: opinion scores, a teacher of random numbers."""

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Generator

from calibration.auxiliary_losses import AuxiliaryLosses
from calibration.plain_metric import PlainMetric
from lpips_lite import read_image
from lpips_lite.towers import TOWERS
from lpips_lite.votes.distort import distort
from tests.conftest import ROOT
from tests.peers import random_channels, random_tower

KINDS = {1: "white_noise", 2: "gaussian_blur", 3: "brightness"}
HARM = {1: 0.2, 2: 1.0, 3: 0.6}  # these people hardly mind noise


def save(image, path):
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def scores(tmp_path_factory):
    """A table of opinion scores: 6 references, three kinds of distortion at three levels."""
    folder = tmp_path_factory.mktemp("scores")
    scene, rows = read_image(ROOT / "examples/images/scene.png"), []
    for number in range(6):
        top, left = 40 * (number // 3), 80 * (number % 3)
        ref = scene[None, :, top : top + 72, left : left + 72]
        save(ref[0], folder / f"ref{number}.png")
        for kind, name in KINDS.items():
            for level in (0.05, 0.15, 0.3):
                file = f"{number}_{kind}_{level}.png"
                save(distort(ref, name, torch.tensor([level]), Generator().manual_seed(number))[0], folder / file)
                rows.append((file, f"ref{number}.png", kind, 5 - 12 * level * HARM[kind]))
    pd.DataFrame(rows, columns=["file", "ref", "type", "mos"]).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def teacher():
    """An AlexNet of random numbers."""
    channels = {f"channel_weights.{index}": weight for index, weight in enumerate(random_channels("alex"))}
    return PlainMetric(TOWERS["alex"], {**random_tower("alex"), **channels})


@pytest.fixture(scope="session")
def photo_options(teacher, photos_tar, tmp_path_factory):
    """Options for commands: this AlexNet, and photographs."""
    tower = tmp_path_factory.mktemp("teacher") / "alex.pth"
    torch.save(teacher.tower, tower)
    return ["--photos", str(photos_tar), "--alex", str(tower)]


@pytest.fixture(scope="session")
def losses(photos, teacher):
    """Auxiliary losses of two batches."""
    return AuxiliaryLosses(photos, teacher, count=2, seed=0)


@pytest.fixture(scope="session")
def start():
    """A file to start from, which was not trained on judgments."""
    return ROOT / "calibration/results/lite-0.4-distilled.safetensors"
