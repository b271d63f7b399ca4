"""Tuning of the tower: it learns from judgments, keeps what it should keep, and records what it has seen."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.special import expit
from torch import Generator

from calibration import tune
from calibration.plain_metric import PlainMetric
from calibration.recipe import Recipe
from calibration.two_heads import TwoHeads
from calibration.votes_by_reference import ReferenceVotes, group_by_reference
from lpips_lite import LPIPS, read_image
from lpips_lite.tensor_files import read_metadata, save_tensors
from lpips_lite.towers import TOWERS
from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.objectives import Votes, best_slope
from lpips_lite.votes.provenance import reference_digest
from lpips_lite.votes.triplets import load
from tests.calibration.conftest import save


def score(metric, groups):
    found = [tune.measure(metric, group) for group in groups]
    d0, d1 = (torch.cat([pair[side] for pair in found]).numpy() for side in (0, 1))
    return agreement(d0, d1, torch.cat([group.judgement for group in groups]).numpy())


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze", "lite"])
def test_a_plain_metric_is_the_metric(net):
    metric = LPIPS(net, tower_weights="random:0", channel_weights="uniform", reduction="none")
    plain, images = PlainMetric.of(metric), torch.rand(6, 3, 40, 43)
    pairs = [(0, 2), (1, 3), (0, 4), (1, 5), (2, 4), (3, 5)]
    expected = torch.stack([metric.layer_distances(images[[a]], images[[b]])[0] for a, b in pairs])
    torch.testing.assert_close(plain.three_way(images), expected, rtol=1e-4, atol=1e-6)
    expected = metric(images[1:], images[:1].expand(5, -1, -1, -1))
    torch.testing.assert_close(plain.from_first(images), expected, rtol=1e-4, atol=1e-6)
    plain.require_gradients().from_first(images).sum().backward()
    used = {key: tensor for key, tensor in plain.tensors.items() if tensor.grad is not None}
    assert used.keys() == metric.tower.tensors.keys() - {"mean", "std"} | metric.tensors.keys()
    assert all(not tensor.requires_grad for tensor in (*metric.tower.tensors.values(), *metric.tensors.values()))


def test_a_balanced_metric_has_features_of_mean_1_and_the_same_distances(start):
    near, images = TwoHeads.of(open_file(start)).near, torch.rand(4, 3, 48, 52)
    balanced = near.balanced(images)
    assert [feature.mean().item() for feature in balanced.features(images)] == pytest.approx([1] * 5, rel=1e-4)
    torch.testing.assert_close(balanced.three_way(images[:3]), near.three_way(images[:3]), rtol=1e-4, atol=1e-8)


def test_weights_for_images_that_are_not_scaled_are_refused():
    metric = LPIPS("lite", channel_weights="uniform")
    metric.scaled = False
    with pytest.raises(ValueError, match="are for images that were not scaled; expected v0.1, 'uniform' or a file"):
        PlainMetric.of(metric)


def test_heads_taken_apart_and_joined_are_the_metric(start):
    metric = open_file(start)
    heads = TwoHeads.of(metric)
    joined = heads.join()
    assert joined.keys() == metric.tensors.keys() | TOWERS["lite"].shapes().keys()
    assert all(torch.equal(tensor, joined[key]) for key, tensor in metric.tensors.items())
    assert all(torch.equal(metric.tower.tensors[key], joined[key]) for key in TOWERS["lite"].shapes())
    images = torch.rand(4, 3, 48, 52)
    expected = metric(images[1:], images[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(heads.from_first(images), expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(heads.scaled(3.0).from_first(images), 3 * expected, rtol=1e-4, atol=1e-7)


def test_the_far_head_compares_channels_that_the_near_head_ignores(start, tmp_path):
    heads = TwoHeads.of(open_file(start)).scaled(2.0)
    heads.near.channels[0].copy_(torch.tensor([0, 0.09, 0.11, 3.8]).repeat(10))  # mean 1: below 0.1 is ignored
    heads.save(tmp_path / "ignored.safetensors", {})
    metric = open_file(tmp_path / "ignored.safetensors")
    found, far = metric.tensors["channel_weights.0"], metric.tensors["channel_weights.5"]
    ignored = 4 * far.mean().item()
    torch.testing.assert_close(found, torch.tensor([ignored, ignored, 0.002 * 0.11, 0.002 * 3.8]).repeat(10))
    images = torch.rand(4, 3, 48, 52)
    expected = metric(images[1:], images[:1].expand(3, -1, -1, -1))
    torch.testing.assert_close(heads.from_first(images), expected, rtol=1e-4, atol=1e-7)


def test_a_metric_with_one_head_is_no_start():
    with pytest.raises(ValueError, match="expected a lite with two heads"):
        TwoHeads.of(LPIPS("lite", tower_weights="random:0", channel_weights="uniform"))


@pytest.mark.parametrize("key", ["channel_weights.0", "channel_weights.2", "near_weights.7"])
def test_a_head_with_other_weights_than_calibration_writes_is_no_start(key, start, tmp_path):
    tensors = TwoHeads.of(open_file(start)).join()
    tensors[key][-1] = 0.1
    save_tensors(tmp_path / "mixed.safetensors", tensors, {})
    with pytest.raises(ValueError, match=f"{key} is not as calibration writes it"):
        TwoHeads.of(open_file(tmp_path / "mixed.safetensors"))


def test_whole_images_are_measured_as_the_metric_does(scores, start):
    group = group_by_reference(load([scores]))[0]
    metric = open_file(start)
    d0, d1 = tune.measure(TwoHeads.of(metric), group)
    images = torch.stack([read_image(path) for path in group.files])
    expected = metric(images[1:], images[:1].expand(len(images) - 1, -1, -1, -1))
    torch.testing.assert_close(torch.stack([d0, d1]), expected[group.pairs.T], rtol=1e-4, atol=1e-6)


def test_it_learns_from_people_and_the_teacher_holds_it_back(scores, start, losses):
    groups, metric = group_by_reference(load([scores])), open_file(start)
    heads = TwoHeads.of(metric)
    before = score(heads, groups)
    recipe = Recipe(steps=60, lr=4e-3, side=48, squares=1, copies=9, teacher_loss=2.0)
    free = tune.tune(metric, groups, None, recipe)
    assert score(free, groups) > before + 0.04
    assert all((weight >= 0).all() for weight in free.near.channels)
    assert all(torch.equal(tensor, free.far.tensors[key]) for key, tensor in heads.far.tower.items())
    assert tune.median_distance(free) == pytest.approx(tune.MEDIAN, rel=1e-4)
    factor = free.near_limit / heads.near_limit
    for ours, theirs in zip(free.far.channels, heads.far.channels, strict=True):
        torch.testing.assert_close(ours, factor * theirs)
    taught = tune.tune(metric, groups, losses, recipe)
    generators = [Generator().manual_seed(0) for _ in range(2)]
    departure, kept = (
        losses.all(m.scaled(heads.near_limit / m.near_limit).near, 0, losses.start_descents(6, g), g)
        for m, g in zip((free, taught), generators, strict=True)
    )
    assert kept["teacher_loss"] < departure["teacher_loss"]
    again = tune.tune(metric, groups, None, recipe)
    assert all(torch.equal(tensor, again.join()[key]) for key, tensor in free.join().items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c=2", r"--data-weights c=2: 'c' is not a data set here \(b\)"),
        ("b=much", r"--data-weights b=much: expected b=NUMBER, a number ≥ 0"),
        ("b", r"--data-weights b: expected b=NUMBER"),
        ("b=-1", r"--data-weights b=-1: expected b=NUMBER"),
        ("b=nan", r"--data-weights b=nan: expected b=NUMBER"),
    ],
)
def test_weights_of_data_sets_name_them(text, message):
    assert Recipe().weight_of(["a", "b"]) == {"a": 1, "b": 1}
    assert Recipe(data_weights="b=2.5,a=0").weight_of(["a", "b"]) == {"a": 0, "b": 2.5}
    with pytest.raises(ValueError, match=message):
        Recipe(data_weights=text).weight_of(["b"])


def test_a_vote_is_on_the_whole_image_not_on_one_square(start, tmp_path):
    """One copy is changed much, on the left only; the other, which was chosen, is changed a little everywhere."""
    ref = torch.rand(3, 72, 144, generator=Generator().manual_seed(0))
    left, everywhere = ref.clone(), ref + 0.1 * torch.rand(ref.shape, generator=Generator().manual_seed(1))
    left[:, :, :72] = torch.rand(3, 72, 72, generator=Generator().manual_seed(2))
    files = tuple(tmp_path / name for name in ("ref.png", "left.png", "everywhere.png"))
    for file, image in zip(files, (ref, left, everywhere), strict=True):
        save(image.clamp(0, 1), file)
    group = ReferenceVotes("data", files, (None, None), torch.tensor([[0, 1]]), torch.ones(1), torch.ones(1))
    near, generator = TwoHeads.of(open_file(start)).near, Generator().manual_seed(3)

    def largest_loss(squares):
        recipe = Recipe(squares=squares, side=48)
        return max(tune.vote_loss(near, torch.tensor(0.0), group, recipe, generator) for _ in range(24))

    assert largest_loss(1) > 1  # on the right, a single square shows no change of the first copy
    assert largest_loss(16) < 0.2

    first, second = (Generator().manual_seed(4) for _ in range(2))
    found = tune.vote_loss(near, torch.tensor(0.5), group, Recipe(squares=3, side=48), first)
    d = torch.stack([near.from_first(tune.read_copies(group, 48, second)) for _ in range(3)]).mean(0) + tune.FLOOR
    torch.testing.assert_close(found, (1 + (d[1] / d[0]) ** math.exp(0.5)).log())  # −log P(p1)


def test_a_square_larger_than_the_image_is_refused(scores):
    group = group_by_reference(load([scores]))[0]
    with pytest.raises(ValueError, match=r"--side 80: .*ref0.png is 72×72; expected at least that size"):
        tune.read_copies(group, 80, Generator())


def open_file(path):
    return LPIPS("lite", tower_weights=path, channel_weights=path, reduction="none")


def run(*arguments):
    return CliRunner().invoke(tune.main, [str(argument) for argument in arguments])


def test_the_command_writes_a_file_that_loads_and_says_what_it_has_seen(scores, start, photo_options, tmp_path):
    out, again = tmp_path / "tuned.safetensors", tmp_path / "again.safetensors"
    held_out = tmp_path / "held_out.csv"
    rows = [f"{n},{j},1,{0.1 + 0.01 * n},{0.2 - 0.01 * n}" for n in range(9) for j in (0, 1, int(n > 4))]
    held_out.write_text("\n".join(["ref,judgement,votes,d0,d1", *rows]) + "\n")
    small = ["--steps", 12, "--side", 48, "--copies", 9]
    options = ["--version", "9.9", "--held-out", held_out, "--photo-batches", 2, *small, *photo_options]
    result = run(scores, "--out", out, "--start", start, *options)
    assert result.exception is None, result.output
    metadata = read_metadata(out)
    assert metadata["version"] == "9.9"
    assert "steps=12 lr=0.004 side=48 squares=4 copies=9" in metadata["recipe"]
    assert metadata["start"] == open_file(start).signature
    references = {reference_digest(scores / f"ref{number}.png") for number in range(6)}
    assert set(metadata["trained_on"].split()) == references
    metric = open_file(out)
    table = pd.read_csv(held_out)
    votes = Votes(
        *(table[name].to_numpy(dtype) for name, dtype in (("judgement", float), ("votes", float), ("ref", str)))
    )
    assert metric.slope == pytest.approx(best_slope((table["d0"] - table["d1"]).to_numpy(), votes), rel=1e-4)
    assert metric.trained_on == references
    assert metric.signature.split()[2] != LPIPS("lite").signature.split()[2]  # another tower
    with pytest.raises(ValueError, match="were fitted on tower|was fitted on tower"):
        LPIPS("lite", channel_weights=out, tower_weights=start)
    table = (scores / "labels.csv").read_text().splitlines()
    some = scores / "some.csv"
    some.write_text("\n".join([table[0], *(row for row in table if ",ref0.png," in row)]) + "\n")
    assert run(some, "--out", again, "--start", out, *small).exception is None
    some.unlink()
    assert set(read_metadata(again)["trained_on"].split()) == references  # the start had seen them
    assert open_file(again).slope is None  # there is no held-out data to fit one to


def test_votes_that_do_not_determine_a_slope_give_none(tmp_path, capsys):
    path = tmp_path / "held_out.csv"
    path.write_text("judgement,votes,d0,d1\n" + "0.5,2,0.1,0.2\n" * 4)
    assert tune.fit_slope(path, None).keys() == {"uncertain"}
    assert "warning: no slope: " in capsys.readouterr().err


def test_the_slope_is_that_of_the_data_set_named(tmp_path):
    generator = np.random.default_rng(0)
    for name, slope in (("votes", 5.0), ("scores", 50.0)):
        d = generator.random((4000, 2))
        votes = generator.random(4000) < expit(slope * (d[:, 0] - d[:, 1]))
        rows = np.column_stack([votes, np.ones(4000), d])
        np.savetxt(tmp_path / f"{name}.csv", rows, delimiter=",", header="judgement,votes,d0,d1", comments="")
    assert float(tune.fit_slope(tmp_path, "votes")["slope"]) == pytest.approx(5, rel=0.1)
    assert float(tune.fit_slope(tmp_path, "scores")["slope"]) == pytest.approx(50, rel=0.1)
    with pytest.raises(ValueError, match="--slope-of other: .* has scores, votes"):
        tune.fit_slope(tmp_path, "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Missing option '--start'"),
        (["--start", "START", "--photos", "START"], "expected both or neither, got one"),
        (["--start", "START", "--data-weights", "x=1"], "'x' is not a data set here"),
        (["--start", "START", "--side", 80], "is 72×72; expected at least that size"),
        (["--start", "START", "--squares", 0], "Invalid value for '--squares': 0 is not in the range x>=1"),
        (["--start", "START", "--photo-batches", 0], "Invalid value for '--photo-batches': 0 is not in the range x>=1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message, scores, start, tmp_path):
    options = [start if option == "START" else option for option in options]
    result = run(scores, "--out", tmp_path / "x.safetensors", "--steps", 12, *options)
    assert result.exit_code == 2
    assert re.search(message, " ".join(result.output.split()))
    assert not (tmp_path / "x.safetensors").exists()
