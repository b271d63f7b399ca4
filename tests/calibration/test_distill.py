"""Distillation in small: it learns, resumes exactly, and writes a file that loads."""

import io
import tarfile

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from calibration.distill import Hyperparameters, Run, log_error, main, read_photos
from lpips_lite import LPIPS, FeatureTower
from tests.conftest import ROOT
from tests.peers import random_channels, random_tower


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A tar of 16 crops of the example scene, 112×112."""
    path = tmp_path_factory.mktemp("photos") / "photos.tar"
    with Image.open(ROOT / "examples/images/scene.png") as scene, tarfile.open(path, "w") as tar:
        for number in range(16):
            top, left = divmod(number, 4)
            buffer = io.BytesIO()
            scene.crop((left * 48, top * 48, left * 48 + 112, top * 48 + 112)).save(buffer, "PNG")
            member = tarfile.TarInfo(f"{number:02}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(member, buffer)
    return path


def start(photos, steps=4):
    teacher = FeatureTower("alex", weights="random:0")
    return Run(read_photos(photos), teacher, random_channels("alex"), Hyperparameters(steps, 4, 1e-3, seed=0))


def test_a_resumed_run_equals_an_uninterrupted_one(photos, tmp_path):
    whole = start(photos)
    losses = [whole.advance() for _ in range(4)]
    broken = start(photos)
    assert [broken.advance() for _ in range(2)] == losses[:2]
    broken.save(tmp_path / "run.ckpt")
    resumed = start(photos)
    resumed.restore(tmp_path / "run.ckpt")
    assert [resumed.advance() for _ in range(2)] == losses[2:]
    assert all(torch.equal(tensor, resumed.student.average[key]) for key, tensor in whole.student.average.items())


def test_it_learns(photos):
    run = start(photos, steps=40)
    losses = [run.advance() for _ in range(40)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all((w >= 0).all() for key, w in run.student.weights.items() if key.startswith("channel_weights"))


def test_the_loss_is_zero_for_the_teachers_own_distances():
    distances = torch.rand(5, 3)
    assert log_error(distances, distances).item() == 0
    assert log_error(2 * distances, distances).item() == pytest.approx(1.2 * 0.693**2, rel=0.02)  # (log 2)², 6/5 times


def test_the_command_writes_a_file_that_loads(photos, tmp_path):
    torch.save(random_tower("alex"), tmp_path / "alex.pth")
    torch.save({f"lin{i}.model.1.weight": w.view(1, -1, 1, 1) for i, w in enumerate(random_channels("alex"))},
               tmp_path / "lin.pth")  # fmt: skip
    out = tmp_path / "new.safetensors"
    arguments = ["--photos", photos, "--teacher", tmp_path / "alex.pth", "--channel-weights", tmp_path / "lin.pth"]
    arguments += ["--out", out, "--steps", 25, "--batch-size", 4]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None, result.output
    metric = LPIPS("lite", tower_weights=out, channel_weights=out)
    assert metric(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)) > 0
    assert (tmp_path / "new.csv").read_text().startswith("step,train_loss,spearman,pearson,")
