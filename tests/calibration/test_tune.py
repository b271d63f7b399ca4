"""Tuning of the tower: it learns what people see, keeps what it is told to, and says what it has seen."""

import re

import pytest
import torch
from click.testing import CliRunner
from torch import Generator

from calibration import tune
from calibration.plain_metric import PlainMetric
from calibration.recipe import Recipe
from calibration.votes_by_reference import group_by_reference
from lpips_lite import LPIPS, read_image
from lpips_lite.tensor_files import read_metadata
from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.provenance import reference_digest
from lpips_lite.votes.triplets import load
from tests.calibration.conftest import START, save


def score(metric, groups):
    found = [tune.measure(metric, group) for group in groups]
    d0, d1 = (torch.cat([pair[side] for pair in found]).numpy() for side in (0, 1))
    return agreement(d0, d1, torch.cat([group.judgement for group in groups]).numpy())


@pytest.mark.parametrize("net", ["lite", "alex", "vgg", "squeeze"])
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


def test_weights_for_images_that_are_not_scaled_are_refused():
    metric = LPIPS("lite", channel_weights="uniform")
    metric.scaled = False
    with pytest.raises(ValueError, match="are for images that were not scaled; expected v0.1, 'uniform' or a file"):
        PlainMetric.of(metric)


def test_whole_images_are_measured_as_the_metric_does(scores):
    group = group_by_reference(load([scores]))[0]
    metric = LPIPS("lite", reduction="none")
    d0, d1 = tune.measure(PlainMetric.of(metric), group)
    images = torch.stack([read_image(path) for path in group.files])
    expected = metric(images[1:], images[:1].expand(len(images) - 1, -1, -1, -1))
    torch.testing.assert_close(torch.stack([d0, d1]), expected[group.pairs.T], rtol=1e-4, atol=1e-6)


def test_it_learns_from_people_and_the_teacher_holds_it_back(scores, losses):
    groups, metric = group_by_reference(load([scores])), LPIPS("lite")
    before = score(PlainMetric.of(metric), groups)
    recipe = Recipe(steps=40, lr=2e-3, side=48, copies=9)
    free = tune.tune(metric, groups, None, recipe)
    assert before < 0.85
    assert score(free, groups) > before + 0.08
    assert all((weight >= 0).all() for weight in free.channels)
    assert metric.signature == LPIPS("lite").signature
    assert all(torch.equal(tensor, LPIPS("lite").tensors[key]) for key, tensor in metric.tensors.items())
    taught = tune.tune(metric, groups, losses, recipe)
    generators = [Generator().manual_seed(0) for _ in range(2)]
    departure, kept = (
        losses.all(m, 0, losses.start_descents(6, g), g) for m, g in zip((free, taught), generators, strict=True)
    )
    assert kept["teacher_loss"] < 0.7 * departure["teacher_loss"]
    assert kept["mdsi_loss"] < departure["mdsi_loss"]
    again = tune.tune(metric, groups, None, recipe)
    assert all(torch.equal(tensor, again.tensors[key]) for key, tensor in free.tensors.items())


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


def test_a_square_larger_than_the_image_is_refused(scores):
    group = group_by_reference(load([scores]))[0]
    with pytest.raises(ValueError, match=r"--side 80: .*ref0.png is 72×72; expected at least that size"):
        tune.read_copies(group, 80, Generator())


def run(*arguments):
    return CliRunner().invoke(tune.main, [str(argument) for argument in arguments])


def test_the_command_writes_a_file_that_loads_and_says_what_it_has_seen(scores, teacher_options, tmp_path):
    out, again = tmp_path / "tuned.safetensors", tmp_path / "again.safetensors"
    options = ["--version", "9.9", "--steps", 12, "--side", 48, "--copies", 9, "--photo-batches", 2, *teacher_options]
    result = run(scores, "--out", out, "--tower-weights", START, "--channel-weights", START, *options)
    assert result.exception is None, result.output
    metadata = read_metadata(out)
    assert metadata["version"] == "9.9"
    assert "steps=12 lr=0.004 side=48 copies=9" in metadata["recipe"]
    assert metadata["start"] == LPIPS("lite", tower_weights=START, channel_weights=START).signature
    references = {reference_digest(scores / f"ref{number}.png") for number in range(6)}
    assert set(metadata["trained_on"].split()) == references
    metric = LPIPS("lite", tower_weights=out, channel_weights=out, reduction="none")
    assert metric.slope > 0
    assert metric.trained_on == references
    assert metric.signature.split()[2] != LPIPS("lite").signature.split()[2]  # another tower
    with pytest.raises(ValueError, match="were fitted on tower"):
        LPIPS("lite", channel_weights=out)
    table = (scores / "labels.csv").read_text().splitlines()
    some = scores / "some.csv"
    some.write_text("\n".join([table[0], *(row for row in table if ",ref0.png," in row)]) + "\n")
    start = ["--tower-weights", out, "--channel-weights", out]
    assert run(some, "--out", again, *start, "--steps", 12, "--side", 48, "--copies", 9).exception is None
    some.unlink()
    assert set(read_metadata(again)["trained_on"].split()) == references  # what it started from had seen them


def test_votes_that_do_not_determine_a_slope_give_none(tmp_path):
    rows = ["ref,p0,p1,votes_p0,votes_p1"]
    for n in range(4):
        for name in ("ref", "a", "b"):
            save(torch.rand(3, 48, 48), tmp_path / f"{n}{name}.png")
        rows.append(f"{n}ref.png,{n}a.png,{n}b.png,2,2")
    (tmp_path / "votes.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "tuned.safetensors"
    start = ["--tower-weights", START, "--channel-weights", START]
    result = run(tmp_path, "--out", out, *start, "--steps", 12, "--side", 48)
    assert result.exception is None, result.output
    assert "warning: no slope: " in result.output
    assert "uncertain" in read_metadata(out)
    assert LPIPS("lite", tower_weights=out, channel_weights=out).slope is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--channel-weights", START], "Missing option '--tower-weights'"),
        (["--tower-weights", START], "Missing option '--channel-weights'"),
        (["--tower-weights", START, "--channel-weights", "v7"], "No such file|does not exist"),
        (
            ["--tower-weights", START, "--channel-weights", START, "--photos", START],
            "expected both or neither, got one",
        ),
        (["--tower-weights", START, "--channel-weights", START, "--data-weights", "x=1"], "'x' is not a data set here"),
        (["--tower-weights", START, "--channel-weights", START, "--side", 80], "is 72×72; expected at least that size"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message, scores, tmp_path):
    result = run(scores, "--out", tmp_path / "x.safetensors", "--steps", 12, *options)
    assert result.exit_code == 2
    assert re.search(message, " ".join(result.output.split()))
    assert not (tmp_path / "x.safetensors").exists()
