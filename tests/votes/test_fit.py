"""Fitting: planted weights are recovered, features are computed once, and nothing is claimed that votes do not show."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from examples.make_triplets import make_triplets
from lpips_lite import LPIPS, read_image
from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.features import Features, extract, fingerprint
from lpips_lite.votes.fit import Votes, fit, folds_by_reference, keep_scale
from lpips_lite.votes.head_vectors import HeadVectors
from lpips_lite.votes.objectives import fit_ranking, undetermined
from lpips_lite.votes.scale import draw_leaves
from lpips_lite.votes.triplets import Triplet, load
from tests.command import noise


def planted(triplets, channels, references, seed=0, votes=5):
    """Return features of correlated channels, and votes drawn from known sparse weights."""
    generator = np.random.default_rng(seed)
    mixing = generator.random((channels, channels // 4)) ** 4  # few common causes of many channels
    strength = generator.gamma(1.0, 1.0, (2 * triplets, channels // 4))
    differences = (strength @ mixing.T * generator.lognormal(0, 0.3, (2 * triplets, channels))).astype(np.float32)
    truth = generator.gamma(0.3, 1.0, channels) * (generator.random(channels) < 0.4)
    rows = np.arange(2 * triplets).reshape(triplets, 2)
    gap = (differences[rows[:, 0]] - differences[rows[:, 1]]) @ truth
    truth = truth * 2 / gap.std()
    chosen = generator.binomial(votes, expit(2 * gap / gap.std())) / votes
    names = np.array([f"r{number}" for number in generator.integers(references, size=triplets)])
    features = Features(differences, rows, (channels,), "lite", "none", "none")
    return features, Votes(chosen, np.full(triplets, float(votes)), names), truth


def held_out_agreement(heads, features, votes):
    return agreement(*features.distances(heads), votes.judgement)


def split(features, votes, count):
    """Divide triplets into training and test sets with different references."""
    train = folds_by_reference(votes.reference, count, 1) > 0

    def part(chosen):
        rows = features.rows[chosen]
        return Features(features.differences, rows, features.channels, "lite", "", ""), votes.take(chosen)

    return part(train), part(~train)


def test_planted_weights_are_recovered_by_both_objectives():
    features, votes, truth = planted(6000, 200, 300)
    (train, train_votes), (test, test_votes) = split(features, votes, 3)
    uniform = HeadVectors(np.ones(200))
    fitted = fit(train, train_votes, uniform)
    ceiling = held_out_agreement(HeadVectors(truth), test, test_votes)
    assert held_out_agreement(uniform, test, test_votes) < ceiling - 0.02  # there is something to learn
    assert held_out_agreement(fitted.weights, test, test_votes) > ceiling - 0.005
    assert fitted.agreement.low < held_out_agreement(fitted.weights, test, test_votes) < fitted.agreement.high
    assert (fitted.weights.far >= 0).all()
    sides = [train.differences[train.rows[:, side]] for side in (0, 1)]
    ranked = fit_ranking(*sides, train_votes, uniform.far)
    low, high = fitted.agreement.low, fitted.agreement.high
    assert low < held_out_agreement(HeadVectors(ranked), test, test_votes) < high
    assert (ranked >= 0).all()


def test_the_slope_is_a_probability():
    features, votes, _ = planted(6000, 40, 300)
    (train, train_votes), (test, test_votes) = split(features, votes, 3)
    fitted = fit(train, train_votes, HeadVectors(np.ones(40)))
    d0, d1 = test.distances(fitted.weights)
    predicted = expit(fitted.slope * (d0 - d1))
    for low in np.arange(
        0, 1, 0.2
    ):  # for example, of those predicted to be chosen by 20 to 40 %, that share was chosen
        within = (predicted >= low) & (predicted < low + 0.2)
        assert predicted[within].mean() == pytest.approx(test_votes.judgement[within].mean(), abs=0.04)


def test_folds_keep_references_together():
    references = np.repeat([f"r{i}" for i in range(20)], 7)
    fold = folds_by_reference(references, 5, 0)
    assert all(len(set(fold[references == name])) == 1 for name in references)
    assert np.bincount(fold).tolist() == [28] * 5
    with pytest.raises(ValueError, match="--folds 5: the data has 3 references"):
        folds_by_reference(np.array(["a", "b", "c"]), 5, 0)


# -- from images to a metric ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A BAPPS-shaped tree of 240 machine-made triplets."""
    return make_triplets(tmp_path_factory.mktemp("bapps") / "machine-made", 240)


def test_features_times_weights_are_distances(data, tmp_path):
    triplets, metric = load([data])[:20], LPIPS("lite", reduction="none")
    features = extract(triplets, metric, tmp_path)
    d0, d1 = features.distances(HeadVectors.of(metric))
    for row, t in enumerate(triplets):
        ref = read_image(t.ref)[None]
        assert d0[row] == pytest.approx(metric(read_image(t.p0)[None], ref).item(), rel=1e-4, abs=1e-7)
        assert d1[row] == pytest.approx(metric(read_image(t.p1)[None], ref).item(), rel=1e-4, abs=1e-7)


def test_features_are_computed_once(data, tmp_path, monkeypatch):
    triplets, metric = load([data])[:20], LPIPS("lite")
    first = extract(triplets, metric, tmp_path)
    monkeypatch.setattr(metric.tower, "forward", None)  # not needed any more
    again = extract(triplets, metric, tmp_path)
    np.testing.assert_array_equal(first.differences, again.differences)


def test_renamed_files_find_their_own_rows_in_the_cache(data, tmp_path):
    triplets, renamed = load([data])[:12], []
    for number, t in enumerate(triplets):  # the same images in the same order, under names that sort the other way
        paths = {part: tmp_path / f"{99 - number}-{part}.png" for part in ("p1", "ref", "p0")}
        for part, path in paths.items():
            shutil.copy(getattr(t, part), path)
        renamed.append(replace(t, **paths))
    metric = LPIPS("lite")
    first, again = (extract(some, metric, tmp_path / "cache") for some in (triplets, renamed))
    assert len(list((tmp_path / "cache").iterdir())) == 1
    weights = HeadVectors(np.ones(first.differences.shape[1]))
    np.testing.assert_array_equal(first.distances(weights), again.distances(weights))
    fresh = extract(renamed, metric, tmp_path / "fresh")
    np.testing.assert_allclose(again.distances(weights), fresh.distances(weights), rtol=1e-5)


def test_fingerprint_is_of_content(data, tmp_path):
    triplets = load([data])
    moved = tmp_path / "elsewhere"
    shutil.copytree(data, moved)
    assert fingerprint(load([moved])) == fingerprint(triplets)
    np.save(moved / "judge/000003.npy", 1 - np.load(moved / "judge/000003.npy"))
    assert fingerprint(load([moved])) != fingerprint(triplets)


@pytest.mark.parametrize("shared", ["ref", "p0", "nothing"])
def test_the_same_bytes_under_other_names_keep_their_own_rows(tmp_path, shared):
    """Two data sets of the same bytes in the same order; one of them has an image twice with different names."""
    for number, name in enumerate("rxyuv"):
        noise(tmp_path / f"{name}.png", (64, 64), seed=number)
    for name in "rx":
        shutil.copy(tmp_path / f"{name}.png", tmp_path / f"{name}-copy.png")

    def triplets(ref, p0):
        names = [("r", "x", "y"), ("u", "x", "y"), (ref, p0, "v")]
        return [Triplet("t", *(tmp_path / f"{name}.png" for name in row), 0.8, 5.0) for row in names]

    first = triplets("r", "x")
    second = triplets("r-copy" if shared == "ref" else "r", "x-copy" if shared == "p0" else "x")
    assert (fingerprint(first) == fingerprint(second)) == (shared == "nothing")
    metric = LPIPS("lite")
    weights = HeadVectors(np.ones(len(HeadVectors.of(metric).far)))
    one, two = (extract(data, metric, tmp_path / "cache").distances(weights) for data in (first, second))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    assert one[0][0] != one[0][1]


def test_fingerprint_is_of_every_digit(data):
    triplets = load([data])[:3]
    changed = [replace(triplets[0], judgement=triplets[0].judgement * (1 - 1e-9) + 1e-9), *triplets[1:]]
    assert fingerprint(changed) != fingerprint(triplets)


@pytest.mark.parametrize("wrong", ["nothing", "unscaled"])
def test_what_has_no_features(data, tmp_path, wrong):
    metric = LPIPS("lite")
    if wrong == "unscaled":
        metric.scaled = False
    with pytest.raises(ValueError, match="no triplets|does not scale images"):
        extract([] if wrong == "nothing" else load([data])[:2], metric, tmp_path)


# -- where votes say little ----------------------------------------------------------------------------------------


def with_judgments(judgement, references=12, per_reference=5, votes=4.0):
    """Return planted features of 40 channels, votes with these judgments (of d0 − d1), and the start."""
    features, _, _ = planted(references * per_reference, 40, references, votes=int(votes))
    start = HeadVectors(np.ones(40))
    d0, d1 = features.distances(start)
    names = np.repeat([f"r{number}" for number in range(references)], per_reference)
    judgement = np.full(len(d0), 0.0) + judgement(d0 - d1)
    return features, Votes(judgement, np.full(len(d0), votes), names), start


KINDS = {  # judgments as a function of the margin, and the word in `uncertain`
    "separable": lambda margin: (margin > 0) * 1.0,
    "undecided": lambda margin: 0.5,
    "contrary": lambda margin: np.where(np.arange(len(margin)) % 2 == 0, margin > 0, margin < 0) * 1.0,
}


@pytest.mark.parametrize("objective", ["logistic", "ranking"])
@pytest.mark.parametrize("kind", ["equal", *KINDS])
def test_no_slope_where_votes_determine_none(kind, objective, monkeypatch):
    monkeypatch.setattr("lpips_lite.votes.fit.fit_ranking", partial(fit_ranking, draws=2000))
    features, votes, start = with_judgments(KINDS.get(kind, lambda margin: margin > 0))
    if kind == "equal":
        features = replace(features, rows=features.rows[:, [0, 0]])
    fitted = fit(features, votes, start, objective=objective)
    assert fitted.slope is None
    assert any(reason.startswith((kind, "chance")) for reason in fitted.uncertain)
    assert np.isfinite(fitted.weights.far).all()
    assert fitted.weights.any()
    if kind in ("equal", "undecided"):
        np.testing.assert_array_equal(fitted.weights.far, start.far)
    if kind != "contrary":
        assert np.isnan([fitted.agreement.low, fitted.agreement.high]).all()


@pytest.mark.parametrize("objective", ["logistic", "ranking"])
@pytest.mark.parametrize(("references", "folds"), [(1, 1), (2, 2), (4, 4), (12, 5)])
def test_fewer_references_than_folds(references, folds, objective, monkeypatch):
    monkeypatch.setattr("lpips_lite.votes.fit.fit_ranking", partial(fit_ranking, draws=2000))
    features, votes, start = with_judgments(lambda margin: np.where(margin > 0, 0.75, 0.25), references, 60)
    fitted = fit(features, votes, start, objective=objective)
    assert len(set(fitted.fold)) == folds
    marks = [reason.partition(":")[0] for reason in fitted.uncertain]
    assert ("few references" in marks) == (1 < references < 5)
    assert ("one reference" in marks) == np.isnan(fitted.agreement.value) == (references == 1)
    assert (fitted.slope is None) == (references == 1)


def test_few_votes_are_marked():
    for per_reference, few in ((1, True), (30, False)):
        fitted = fit(*with_judgments(lambda margin: np.where(margin > 0, 0.75, 0.25), 12, per_reference))
        assert any(reason.startswith("few votes") for reason in fitted.uncertain) == few


def test_a_slope_beyond_the_search_is_none():
    votes = Votes(np.array([1.0, 1.0, 0.0]), np.ones(3), np.array(["a", "b", "c"]))
    assert undetermined(np.array([1e-9, 2e-9, 1e-9]), votes).startswith("extreme")
    assert undetermined(np.array([1.0, 2.0, 1.0]), votes) is None
    assert undetermined(np.array([1.0, 2.0, 0.0]), votes).startswith("separable")


def test_channels_that_images_do_not_show_keep_their_measure():
    """Some channels respond to the judged images with a hundred-millionth of the others."""
    features, votes, _ = planted(300, 40, 30)
    features.differences[:, :8] *= 1e-8
    weights = fit(features, votes, HeadVectors(np.ones(40))).weights.far
    assert weights[:8].max() < 1e4 * weights[8:].max()


# -- the scale -----------------------------------------------------------------------------------------------------


def test_the_scale_is_that_of_the_start():
    metric, generator = LPIPS("lite"), np.random.default_rng(0)
    start = HeadVectors.of(metric).far
    weights, slope = keep_scale(7 * start, 14.0, start, metric)
    np.testing.assert_allclose(weights, start)
    assert slope == pytest.approx(98)
    other = start * generator.random(len(start))
    scaled, none = keep_scale(other, None, start, metric)
    assert none is None
    assert 1 < scaled[other > 0][0] / other[other > 0][0] < 4
    with pytest.raises(ValueError, match="the median distance is"):
        keep_scale(0 * start, None, start, metric)


def test_the_picture_is_the_same_everywhere_and_like_a_photograph():
    picture = draw_leaves()
    assert picture.shape == (1, 3, 256, 256)
    assert torch.equal(picture, draw_leaves.__wrapped__())
    assert picture.mean().item() == pytest.approx(0.50, abs=0.03)
    spectrum = np.abs(np.fft.rfft2(picture[0, 1].numpy() - picture[0, 1].mean().item())) ** 2
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    power = [spectrum[(radius >= low) & (radius < 2 * low)].mean() for low in (0.01, 0.02, 0.04, 0.08, 0.16)]
    falls = np.diff(np.log2(power))  # an octave; those of photographs fall by about 2
    assert (falls < -0.8).all()
    assert (falls > -4).all()


def test_no_slope_no_preference():
    metric, image = LPIPS("lite", channel_weights="uniform"), torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="carry no slope fitted to votes"):
        metric.preference(image, image, image)


def test_votes_of_triplets(tmp_path):
    path = tmp_path / "votes.csv"
    pd.DataFrame([("r", "a", "b", 1, 3)], columns=["ref", "p0", "p1", "votes_p0", "votes_p1"]).to_csv(path, index=False)
    votes = Votes.of(load([path]))
    assert (votes.judgement.tolist(), votes.count.tolist()) == ([0.75], [4.0])
