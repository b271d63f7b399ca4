"""A small distillation: it learns, resumes exactly, and writes a file that loads."""

import pytest
import torch
from click.testing import CliRunner
from torch import Generator

from calibration.distill import FAR_SHARE, FIRST_LAYER, Hyperparameters, Run, main, put_beside, see
from calibration.photographs import read_photos
from calibration.plain_metric import PlainMetric
from calibration.two_heads import TwoHeads
from calibration.unlike_pairs import COPIES, draw_copies, pair_error
from lpips_lite import LPIPS
from tests.conftest import ROOT

OLDER = ROOT / "calibration/results/lite-0.2-distilled.safetensors"


def start(photos, teacher, steps=4):
    return Run(photos, [teacher], Hyperparameters(steps, 2, (64,), 0.3, 1e-3, seed=0))


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


def test_the_loss_is_zero_for_the_teachers_own_distances(teacher, photos):
    images = draw_copies(photos, 3, 64, Generator().manual_seed(0))
    d = see(teacher, images)
    assert pair_error(d, d).item() < 0.02  # added by the hinge if the teacher itself is wrong about two levels
    assert pair_error(2 * d, d).item() > 0.9  # 2.3 (log 2)²


def test_all_pairs_are_compared_as_one_by_one(teacher):
    images = torch.rand(5, 3, 64, 64)
    found = see(teacher, images)
    for a, b in ((0, 3), (4, 1), (2, 2)):
        expected = teacher.three_way(images[[a, b, b]])[0]
        torch.testing.assert_close(found[0, :, a, b], expected, rtol=1e-3, atol=1e-5)


def test_copies_of_a_photograph_stand_where_they_are_looked_for(photos):
    images = draw_copies(photos, 4, 64, Generator().manual_seed(3)).view(COPIES, 4, 3, 64, 64)
    first, weak, strong = images[0], images[-2], images[-1]
    gap = [(copy - first).square().mean((1, 2, 3)) for copy in (weak, strong)]
    assert (gap[1] > gap[0]).all()


def test_the_far_head_is_made_weak_and_the_near_head_stays_as_it_is(photos, teacher):
    older = PlainMetric.of(LPIPS("lite", tower_weights=OLDER, channel_weights=OLDER))
    far = start(photos, teacher).student.average
    heads, images = put_beside(far, older), torch.rand(3, 3, 64, 64)
    assert torch.equal(heads.near.from_first(images), older.from_first(images))
    whole, weak = (metric.three_way(images)[0] for metric in (far, heads.far))
    expected = FAR_SHARE * whole * torch.tensor([FIRST_LAYER, 1, 1, 1, 1])
    torch.testing.assert_close(weak, expected)


def test_the_command_writes_a_file_that_loads(photo_options, tmp_path):
    out = tmp_path / "new.safetensors"
    options = [*photo_options, "--lite", str(OLDER), "--out", str(out), "--steps", "25", "--photographs", "2"]
    result = CliRunner().invoke(main, options)
    assert result.exception is None, result.output
    metric = LPIPS("lite", tower_weights=out, channel_weights=out)
    assert metric(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)) > 0
    assert metric.signature.endswith("heads=2")
    near = TwoHeads.of(metric).near.tensors
    older = LPIPS("lite", tower_weights=OLDER, channel_weights=OLDER)
    assert all(torch.equal(tensor, near[key]) for key, tensor in older.tensors.items())
    assert (tmp_path / "new.csv").read_text().startswith("step,train_loss,spearman_within_photographs,")
    again = CliRunner().invoke(main, options)
    assert "finished" in again.output


@pytest.mark.parametrize("option", ["--steps", "--photographs", "--side"])
def test_a_number_less_than_1_is_refused(option, photo_options, tmp_path):
    result = CliRunner().invoke(main, [*photo_options, "--lite", str(OLDER), "--out", str(tmp_path / "x"), option, "0"])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': 0 is not in the range x>=1" in result.output
