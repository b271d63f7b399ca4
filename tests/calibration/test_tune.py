"""Tuning of the tower: it learns what people see, keeps what it is told to, and is judged where it has not been."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import piq
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from scipy.stats import pearsonr
from torch import Generator

from calibration import cross_validate, tune
from calibration.judged import Judged, by_reference, pool_votes
from calibration.lessons import RANKED, Lessons
from lpips_lite import LPIPS, FeatureTower, read_image
from lpips_lite.tensor_files import read_metadata
from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.distort import distort
from lpips_lite.votes.triplets import load
from tests.conftest import ROOT
from tests.peers import random_channels, random_tower

KINDS = {1: "white_noise", 2: "gaussian_blur", 3: "brightness"}
HARM = {1: 0.2, 2: 1.0, 3: 0.6}  # these people hardly mind noise


def save(image, path):
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """A table of opinion scores: 6 references, three kinds of distortion at three levels."""
    folder = tmp_path_factory.mktemp("scores")
    scene, rows = read_image(ROOT / "examples/images/scene.png"), []
    for number in range(6):
        top, left = 40 * (number // 3), 80 * (number % 3)
        ref = scene[None, :, top : top + 72, left : left + 72]
        save(ref[0], folder / f"ref{number}.png")
        for kind, name in KINDS.items():
            for level in (0.3, 0.6, 0.9):
                file = f"{number}_{kind}_{level}.png"
                save(distort(ref, name, torch.tensor([level]), Generator().manual_seed(number))[0], folder / file)
                rows.append((file, f"ref{number}.png", kind, 5 - 4 * level * HARM[kind]))
    pd.DataFrame(rows, columns=["file", "ref", "type", "mos"]).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def photos():
    scene = read_image(ROOT / "examples/images/scene.png")
    crops = [scene[:, top : top + 112, left : left + 112] for top in (0, 70, 140) for left in (0, 70, 140)]
    return (torch.stack(crops) * 255).round().byte()


@pytest.fixture(scope="module")
def lessons(photos):
    return Lessons(photos, FeatureTower("alex", weights="random:0"), random_channels("alex"), count=2, seed=0)


def score(model, judged):
    found = [model.measure(group) for group in judged]
    d0, d1 = (torch.cat([pair[side] for pair in found]).numpy() for side in (0, 1))
    return agreement(d0, d1, torch.cat([group.judgement for group in judged]).numpy())


def test_judgments_are_grouped_by_reference(scores):
    triplets = load([scores])
    judged = by_reference(triplets)
    assert [len(group.files) for group in judged] == [10] * 6
    back = [
        (group.files[0], group.files[1 + a], group.files[1 + b], j)
        for group in judged
        for (a, b), j in zip(group.pairs.tolist(), group.judgement.tolist(), strict=True)
    ]
    assert sorted(back) == sorted((t.ref, t.p0, t.p1, t.judgement) for t in triplets)
    drawn = judged[0].draw(4, Generator().manual_seed(0))
    assert len(drawn.files) == 5
    kept = {(drawn.files[1 + a], drawn.files[1 + b]) for a, b in drawn.pairs.tolist()}
    chosen = set(drawn.files[1:])
    assert kept == {(t.p0, t.p1) for t in triplets if t.ref == drawn.files[0] and {t.p0, t.p1} <= chosen}


def vote(strengths, contrary, votes):
    """Return judgments on methods next to each other for 8 references, of which the last may see it the other way."""
    judged = []
    for number in range(8):
        own = -strengths if contrary and number == 7 else strengths
        files = [Path("originals", f"{number}.png"), *(Path(f"method{m}", f"{number}.jpg") for m in range(len(own)))]
        pairs = torch.tensor([[0, 1], [1, 2], [2, 3]])
        judgement = torch.sigmoid(own[pairs[:, 1]] - own[pairs[:, 0]])
        judged.append(Judged("codec", tuple(files), pairs, judgement, torch.full((3,), float(votes))))
    return judged


def test_votes_on_some_pairs_tell_about_all_of_them():
    strengths = torch.tensor([0.0, 0.4, 1.5, 1.2])
    for group in pool_votes(vote(strengths, contrary=False, votes=1000)):
        assert len(group.pairs) == 6
        expected = torch.sigmoid(strengths[group.pairs[:, 1]] - strengths[group.pairs[:, 0]])
        torch.testing.assert_close(group.judgement, expected, atol=5e-3, rtol=0)
        assert (group.votes == 1).all()


def test_a_reference_departs_from_the_others_if_its_votes_are_many():
    strengths = torch.tensor([0.0, 0.4, 1.5, 1.2])
    few, many = (pool_votes(vote(strengths, contrary=True, votes=votes)) for votes in (1, 1000))
    pair = few[0].pairs.tolist().index([0, 2])
    assert few[7].judgement[pair] > 0.5  # one vote a pair against seven: most of it was chance
    assert many[7].judgement[pair] < 0.25  # σ(−1.5) = 0.18
    assert many[0].judgement[pair] > 0.75


def test_opinion_scores_in_one_folder_stay_as_they_are(scores):
    judged = by_reference(load([scores]))
    assert pool_votes(judged) == judged


def test_whole_images_are_measured_as_the_metric_does(scores):
    group = by_reference(load([scores]))[0]
    metric = LPIPS("lite", reduction="none")
    d0, d1 = tune.Tunable(metric).measure(group)
    images = torch.stack([read_image(path) for path in group.files])
    expected = metric(images[1:], images[:1].expand(len(images) - 1, -1, -1, -1))
    torch.testing.assert_close(torch.stack([d0, d1]), expected[group.pairs.T], rtol=1e-4, atol=1e-6)


def test_it_learns_from_people_and_the_teacher_term_holds_it_back(scores, lessons):
    judged, metric = by_reference(load([scores])), LPIPS("lite")
    before = score(tune.Tunable(metric), judged)
    recipe = tune.Recipe(steps=40, lr=2e-3, side=48, copies=9)
    free = tune.tune(metric, judged, None, recipe)
    assert before < 0.85
    assert score(free, judged) > before + 0.08
    assert all((weight >= 0).all() for weight in free.channels)
    assert all(torch.equal(tensor, metric.tower.tensors[key]) for key, tensor in tune.Tunable(metric).tower.items())
    taught = tune.tune(metric, judged, lessons, recipe)
    generators = [Generator().manual_seed(0) for _ in range(2)]
    departure, kept = (
        lessons.errors(m.features, m.channels, 0, lessons.enrol(6, g), g)
        for m, g in zip((free, taught), generators, strict=True)
    )
    assert kept["teacher"] < 0.7 * departure["teacher"]
    assert kept["rank"] < departure["rank"]
    again = tune.tune(metric, judged, None, recipe)
    assert all(torch.equal(tensor, again.tower[key]) for key, tensor in free.tower.items())


def test_the_rank_lesson_is_correlation_with_mdsi(lessons):
    metric = LPIPS("lite", reduction="none")
    model = tune.Tunable(metric)
    images = lessons.ranked[1][0].float() / 255
    per_photo = []
    for number, ref in enumerate(images[:RANKED]):
        copies = images[RANKED + number :: RANKED]
        half, half_ref = (F.interpolate(x, scale_factor=0.5, mode="area") for x in (copies, ref.expand_as(copies)))
        expected = piq.mdsi(half, half_ref, reduction="none")
        per_photo.append(pearsonr((metric(copies, ref.expand_as(copies)) + 1e-4).log(), expected).statistic)
    assert np.ptp(per_photo) > 0.01  # a photograph's copies taken for another's would be noticed
    assert lessons.rank_error(model.features, model.channels, 1).item() == pytest.approx(
        1 - np.mean(per_photo), abs=0.01
    )


def test_the_shift_lesson_compares_with_a_blur(lessons):
    def shifts_invisible(images):
        return [images.mean((2, 3), keepdim=True)]

    def only_edges(images):
        return [torch.relu(images.diff(dim=-1)) + 1e-6]

    channels = [torch.ones(3)]
    edges = lessons.shift_error(only_edges, channels, Generator().manual_seed(0)).item()
    flat = lessons.shift_error(shifts_invisible, channels, Generator().manual_seed(0)).item()
    assert edges > 0.2
    assert flat == 0


def test_the_shift_lesson_does_not_teach_to_see_blur(lessons):
    model = tune.Tunable(LPIPS("lite", reduction="none"))
    ref, blurred = (torch.zeros(8, 3, 96, 96, requires_grad=True) for _ in range(2))
    shifted = torch.rand(8, 3, 96, 96, requires_grad=True)  # far, so that there is something to mend

    def features(images):
        return model.features(images + torch.cat([ref, shifted, blurred]))

    lessons.shift_error(features, model.channels, Generator().manual_seed(0)).backward()
    assert shifted.grad.abs().sum() > 0
    assert blurred.grad.abs().sum() == 0


def test_pretenders_descend_and_are_judged_by_the_teacher(lessons):
    metric, generator = LPIPS("lite", tower_weights="random:1", channel_weights="uniform"), Generator().manual_seed(0)
    model = tune.Tunable(metric)
    enrolled = lessons.enrol(64, generator)

    def mean_distance():
        with torch.no_grad():
            return metric(enrolled[1], enrolled[0])

    before = mean_distance()
    for _ in range(8):
        lessons.pretender_error(model.features, model.channels, enrolled, generator)
    assert mean_distance() < before
    assert enrolled[1].min() >= 0
    assert enrolled[1].max() <= 1
    faint, loud = ([factor * weight for weight in model.channels] for factor in (1e-6, 1e6))
    assert lessons.pretender_error(model.features, faint, enrolled, generator) > 0.1  # sees less than the teacher
    assert lessons.pretender_error(model.features, loud, enrolled, generator) == 0  # sees more


def test_data_sets_can_be_emphasised(scores):
    family = scores.name
    assert tune.Recipe().weights([family, "b"]) == {family: 1, "b": 1}
    assert tune.Recipe(emphasis="b=2.5").weights([family, "b"]) == {family: 1, "b": 2.5}
    with pytest.raises(ValueError, match=r"emphasis='c=2': 'c' is not a data set here \(b\)"):
        tune.Recipe(emphasis="c=2").weights(["b"])


def test_a_square_larger_than_the_image_is_refused(scores):
    group = by_reference(load([scores]))[0]
    with pytest.raises(ValueError, match=r"--side 80: .*ref0.png is 72×72; expected at least that size"):
        tune.read_copies(group, 80, Generator())


def test_the_command_writes_a_file_that_loads(scores, photos, tmp_path):
    tar, teacher = tmp_path / "photos.tar", tmp_path / "alex.pth"
    torch.save(random_tower("alex"), teacher)
    torch.save({f"lin{i}.model.1.weight": w.view(1, -1, 1, 1) for i, w in enumerate(random_channels("alex"))},
               tmp_path / "lin.pth")  # fmt: skip
    with tarfile.open(tar, "w") as archive:
        for number, pixels in enumerate(photos):
            buffer = io.BytesIO()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG")
            member = tarfile.TarInfo(f"{number}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(member, buffer)
    out = tmp_path / "tuned.safetensors"
    options = ["--out", out, "--version", "9.9", "--steps", 12, "--side", 48, "--copies", 9, "--lessons", 2]
    options += ["--photos", tar, "--teacher-weights", teacher, "--teacher-channels", tmp_path / "lin.pth"]
    result = CliRunner().invoke(tune.main, [str(scores), *map(str, options)])
    assert result.exception is None, result.output
    half = CliRunner().invoke(tune.main, [str(scores), "--out", str(out), "--photos", str(tar)])
    assert "--photos and --teacher-weights: expected both or neither, got one" in half.output
    metadata = read_metadata(out)
    assert metadata["version"] == "9.9"
    assert "steps=12 lr=0.004 side=48 copies=9" in metadata["recipe"]
    metric = LPIPS("lite", tower_weights=out, channel_weights=out, reduction="none")
    assert metric.slope > 0
    assert metric.signature.split()[2] != LPIPS("lite").signature.split()[2]  # another tower
    with pytest.raises(ValueError, match="were fitted on tower"):
        LPIPS("lite", channel_weights=out)


def test_references_are_dealt_to_folds_within_their_family(scores):
    triplets = load([scores])
    folds = list(cross_validate.split_by_reference(triplets, 0))
    assert [name for name, _, _ in folds] == [f"reference-{k}" for k in range(5)]
    for _, learnt, judged in folds:
        assert not {t.ref for t in learnt} & {t.ref for t in judged}
        assert len(learnt) + len(judged) == len(triplets)
    assert sorted(t.p0 for _, _, judged in folds for t in judged) == sorted(t.p0 for t in triplets)


def test_a_kind_that_is_held_out_is_not_seen(scores):
    triplets = load([scores])
    folds = list(cross_validate.split_by_kind(triplets, [scores]))
    assert [name for name, _, _ in folds] == ["kind-1", "kind-2", "kind-3"]
    for name, learnt, judged in folds:
        mark = f"_{name[-1]}_"
        assert not any(mark in path.name for t in learnt for path in (t.p0, t.p1))
        assert all(mark in t.p0.name or mark in t.p1.name for t in judged)
        assert len(learnt) + len(judged) == len(triplets)


def test_cross_validation_writes_each_fold_once(scores, tmp_path):
    arguments = [scores, "--by", "kind", "--out", tmp_path, "--steps", 12, "--side", 48, "--copies", 9]
    run = [str(argument) for argument in arguments]
    assert CliRunner().invoke(cross_validate.main, [*run, "--share", "0/2"]).exception is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kind-1.csv", "kind-3.csv"]
    (tmp_path / "kind-1.csv").write_text("kept\n")
    assert CliRunner().invoke(cross_validate.main, run).exception is None
    assert (tmp_path / "kind-1.csv").read_text() == "kept\n"
    table = pd.read_csv(tmp_path / "kind-2.csv")
    expected = [t for t in load([scores]) if "_2_" in t.p0.name or "_2_" in t.p1.name]
    assert len(table) == len(expected)
    assert set(table.columns) == {"family", "ref", "judgement", "votes", "d0", "d1"}
    assert np.isfinite(table[["d0", "d1"]]).all(axis=None)
