"""Calibration end to end: planted weights come back, and features survive kills and are shared out."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.special import expit

from calibration import fit as fitting
from examples.make_triplets import make_triplets
from lpips_lite import LPIPS, read_image
from lpips_lite.tensor_files import read_metadata
from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.features import Features, extract, fingerprint
from lpips_lite.votes.fit import Votes, fit, fit_ranking, folds_by_reference
from lpips_lite.votes.triplets import load
from tests.conftest import ROOT, free_port


def planted(triplets, channels, references, seed=0, votes=5):
    """Return features of correlated channels, and votes drawn from known sparse weights."""
    generator = np.random.default_rng(seed)
    mixing = generator.random((channels, channels // 4)) ** 4  # few common causes behind many channels
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


def held_out_agreement(weights, features, votes):
    return agreement(*features.distances(weights), votes.judgement)


def split(features, votes, count):
    """Divide triplets into training and test sets with references of their own."""
    train = folds_by_reference(votes.reference, count, 1) > 0

    def part(chosen):
        rows = features.rows[chosen]
        return Features(features.differences, rows, features.channels, "lite", "", ""), votes.take(chosen)

    return part(train), part(~train)


def test_planted_weights_are_recovered_by_both_objectives():
    features, votes, truth = planted(6000, 200, 300)
    (train, train_votes), (test, test_votes) = split(features, votes, 3)
    uniform = np.ones(200)
    fitted = fit(train, train_votes, uniform)
    ceiling = held_out_agreement(truth, test, test_votes)
    assert held_out_agreement(uniform, test, test_votes) < ceiling - 0.02  # there is something to learn
    assert held_out_agreement(fitted.weights, test, test_votes) > ceiling - 0.005
    assert fitted.agreement.low < held_out_agreement(fitted.weights, test, test_votes) < fitted.agreement.high
    assert (fitted.weights >= 0).all()
    sides = [train.differences[train.rows[:, side]] for side in (0, 1)]
    ranked = fit_ranking(*sides, train_votes, uniform)
    low, high = fitted.agreement.low, fitted.agreement.high
    assert low < held_out_agreement(ranked, test, test_votes) < high
    assert (ranked >= 0).all()


def test_the_slope_is_a_probability():
    features, votes, _ = planted(6000, 40, 300)
    (train, train_votes), (test, test_votes) = split(features, votes, 3)
    fitted = fit(train, train_votes, np.ones(40))
    d0, d1 = test.distances(fitted.weights)
    predicted = expit(fitted.slope * (d0 - d1))
    for low in np.arange(0, 1, 0.2):  # of those said to be chosen by 20 to 40 %, that many were
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
    weights = torch.cat(list(metric.tensors.values())).double().numpy()
    d0, d1 = features.distances(weights)
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
    weights = np.ones(first.differences.shape[1])
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


def command(data, cache, *start):
    return [*(start or [sys.executable]), "-m", "lpips_lite.votes.features", str(data), "--cache", str(cache)]


def test_killed_and_resumed_and_shared_out_features_are_the_same(data, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = extract(load([data]), LPIPS("lite"), tmp_path / "whole")
    process = subprocess.Popen([*command(data, tmp_path / "killed"), "--batch-size", "1"], cwd=ROOT, env=environment)
    for _ in range(6000):  # two minutes at most
        marks = list((tmp_path / "killed").glob("*/done.npy"))
        if marks and np.load(marks[0]).sum() > 20:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (mark,) = (tmp_path / "killed").glob("*/done.npy")
    done = int(np.load(mark).sum())
    assert 0 < done < len(np.load(mark))
    subprocess.run(command(data, tmp_path / "killed"), cwd=ROOT, env=environment, check=True, capture_output=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    shared = command(data, tmp_path / "shared", *torchrun, f"--master-port={free_port()}")
    subprocess.run(shared, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=240)
    for cache in ("killed", "shared"):
        (matrix,) = (tmp_path / cache).glob("*/differences.npy")
        np.testing.assert_allclose(np.load(matrix), whole.differences, rtol=0, atol=1e-6)


def test_fit_writes_a_file_that_the_metric_loads_and_checks(data, tmp_path, monkeypatch):
    out = tmp_path / "mine.safetensors"
    arguments = ["--out", out, "--cache", tmp_path / "cache", "--held-out", tmp_path / "held.csv"]
    result = CliRunner().invoke(fitting.main, [str(data), *map(str, arguments)])
    assert result.exception is None, result.output
    metadata = read_metadata(out)
    assert metadata["triplets"] == metadata["votes"] == "240"
    assert float(metadata["cross_validated_agreement"]) > 0.9
    held = pd.read_csv(tmp_path / "held.csv")
    score = agreement(held.d0, held.d1, held.judgement, held.votes)
    assert score == pytest.approx(float(metadata["cross_validated_agreement"]), abs=1e-4)
    metric = LPIPS("lite", channel_weights=out, reduction="none")
    assert "weights=custom-" in metric.signature
    triplets = load([data])
    ref, p0, p1 = (torch.stack([read_image(getattr(t, side)) for t in triplets]) for side in ("ref", "p0", "p1"))
    chosen = metric.preference(ref, p0, p1)
    assert agreement(1 - chosen, chosen, [1 - t.judgement for t in triplets]) > 0.9
    torch.testing.assert_close(chosen, 1 - metric.preference(ref, p1, p0))
    assert metric.preference(ref, p0, p0).tolist() == [0.5] * 240
    scene = read_image(ROOT / "examples/images/scene.png")[None]
    blurred = read_image(ROOT / "examples/images/scene_blur.png")[None]
    assert metric(blurred, scene).item() == pytest.approx(LPIPS("lite")(blurred, scene).item(), rel=1)  # scale is kept
    with pytest.raises(ValueError, match=r"were fitted on tower \w+; expected this tower's"):
        LPIPS("lite", channel_weights=out, tower_weights="random:0")


def test_a_start_without_input_scaling_is_refused(data, tmp_path):
    arguments = [
        str(data),
        "--net",
        "alex",
        "--tower-weights",
        "random:0",
        "--start",
        "v0.0",
        "--out",
        str(tmp_path / "x"),
    ]
    result = CliRunner().invoke(fitting.main, arguments)
    assert result.exit_code == 2
    assert "v0.0 has no input scaling" in result.output


def test_no_slope_no_preference():
    metric, image = LPIPS("lite", channel_weights="uniform"), torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="carry no slope fitted to votes"):
        metric.preference(image, image, image)


def test_votes_of_triplets(tmp_path):
    path = tmp_path / "votes.csv"
    pd.DataFrame([("r", "a", "b", 1, 3)], columns=["ref", "p0", "p1", "votes_p0", "votes_p1"]).to_csv(path, index=False)
    votes = Votes.of(load([path]))
    assert (votes.judgement.tolist(), votes.count.tolist()) == ([0.75], [4.0])
