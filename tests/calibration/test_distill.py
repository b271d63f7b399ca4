"""Distillation in small: it learns, resumes exactly, and writes a file that loads."""

import pytest
import torch
from click.testing import CliRunner

from calibration.distill import Hyperparameters, Run, main
from calibration.distorted_twice import log_error
from calibration.photographs import read_photos
from lpips_lite import LPIPS


def start(photos, teacher, steps=4):
    return Run(photos, teacher, Hyperparameters(steps, 4, 1e-3, seed=0))


def test_photographs_are_read_as_they_are(photos, photos_tar):
    assert torch.equal(read_photos(photos_tar), photos)


def test_a_resumed_run_equals_an_uninterrupted_one(photos, teacher, tmp_path):
    whole = start(photos, teacher)
    losses = [whole.advance() for _ in range(4)]
    broken = start(photos, teacher)
    assert [broken.advance() for _ in range(2)] == losses[:2]
    broken.save(tmp_path / "run.ckpt")
    resumed = start(photos, teacher)
    resumed.restore(tmp_path / "run.ckpt")
    assert [resumed.advance() for _ in range(2)] == losses[2:]
    average = resumed.student.average.tensors
    assert all(torch.equal(tensor, average[key]) for key, tensor in whole.student.average.tensors.items())


def test_it_learns(photos, teacher):
    run = start(photos, teacher, steps=40)
    losses = [run.advance() for _ in range(40)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all((weight >= 0).all() for weight in run.student.trained.channels)


def test_the_loss_is_zero_for_the_teachers_own_distances():
    distances = torch.rand(5, 3)
    assert log_error(distances, distances).item() == 0
    assert log_error(2 * distances, distances).item() == pytest.approx(1.2 * 0.693**2, rel=0.02)  # (log 2)², 6/5 times


def test_the_command_writes_a_file_that_loads(teacher_options, tmp_path):
    out = tmp_path / "new.safetensors"
    result = CliRunner().invoke(main, [*teacher_options, "--out", str(out), "--steps", "25", "--batch-size", "4"])
    assert result.exception is None, result.output
    metric = LPIPS("lite", tower_weights=out, channel_weights=out)
    assert metric(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)) > 0
    assert (tmp_path / "new.csv").read_text().startswith("step,train_loss,spearman,pearson,")
