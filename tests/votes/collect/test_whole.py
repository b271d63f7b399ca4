"""People who follow a planted metric, with noise: collecting, exporting, fitting and judging recovers it."""

import csv
import json
from random import Random

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lpips_lite import LPIPS, read_image
from lpips_lite.cli.votes import main
from lpips_lite.votes.collect.questions import gather
from lpips_lite.votes.collect.store import Store
from lpips_lite.votes.collect.study import Settings
from lpips_lite.votes.distort import distort
from tests.votes.collect.people import SCREEN

PEOPLE = 5


def run(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def write_images(folder, references):
    """Write scenes of blocks, and three distortions of each at random strengths."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for number in range(references):
        blocks = torch.rand(1, 3, 8, 8, generator=generator)
        scene = torch.nn.functional.interpolate(blocks, scale_factor=8, mode=("nearest", "bicubic")[number % 2]).clamp(
            0, 1
        )
        copies = {"original": scene}
        for name in ("gaussian_blur", "white_noise", "contrast"):
            copies[name] = distort(scene, name, torch.rand(1, generator=generator), generator)
        for name, image in copies.items():
            (folder / name).mkdir(exist_ok=True)
            pixels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return [folder / name for name in copies]


@pytest.mark.parametrize("triplets", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_planted_metric_is_recovered(tmp_path, monkeypatch, triplets):
    monkeypatch.chdir(tmp_path)
    settings = Settings(trials=triplets, repeats=0, catches=4, practice=0)
    questions = gather(write_images(tmp_path, triplets // 3), settings)
    metric = LPIPS("lite", channel_weights="uniform")
    shown = [item for item in questions.items if item.kind == "judged"]
    assert len(shown) == triplets

    def distances(column):
        pairs = [(read_image(getattr(item, column)), read_image(item.ref)) for item in shown]
        with torch.inference_mode():
            return np.concatenate([metric_none(x[None], y[None]) for x, y in pairs])

    def metric_none(x, y):
        return metric.layer_distances(x, y).sum(1).double().numpy()

    d0, d1 = distances("p0"), distances("p1")
    slope = 2.5 / np.median(np.abs(d0 - d1))
    chance = dict(zip(range(1, triplets + 1), 1 / (1 + np.exp(-slope * (d0 - d1))), strict=True))
    expected = np.mean([max(share, 1 - share) for share in chance.values()])  # of votes, that the metric agrees with
    with Store(tmp_path / "votes.db", questions.items, settings, questions.digests) as store:
        store._base.execute("PRAGMA synchronous = OFF")  # durability is tested elsewhere
        for number in range(PEOPLE):
            random, (rater, _) = Random(number), store.join()
            ahead = store.ahead(rater)
            while ahead.trials:
                trial = ahead.trials[0]
                choice = "p1" if random.random() < chance.get(trial.number, 0) else "p0"
                ahead = store.vote(rater, trial.key, choice, 1000, SCREEN, "00000000")
    run("export", "votes.db", "-o", "votes.csv", "--raw", "answers.csv", "--screen")
    rows = list(csv.DictReader((tmp_path / "votes.csv").read_text().splitlines()))
    assert len(rows) == triplets
    assert all(int(row["votes_p0"]) + int(row["votes_p1"]) == PEOPLE for row in rows)
    document = json.loads(run("check", "votes.csv", "--format", "json"))
    assert document["totals"]["votes"] == PEOPLE * triplets
    start = "lite:weights=calibrated"
    told = run("fit", "votes.csv", "--metric", start, "-o", "mine.safetensors", "--held-out", "held.csv")
    assert "fitted, 5-fold by reference" in told
    planted = "lite:weights=uniform"
    document = json.loads(run("agree", "answers.csv", "-m", planted, "-f", "json", "--count", "votes"))
    (found,) = document["results"]
    assert found["low"] <= 100 * expected <= found["high"]
    (alpha,) = document["alpha"]
    assert (alpha["raters"], alpha["answers"]) == (PEOPLE, PEOPLE * triplets)
    agreeing = np.mean([share**2 + (1 - share) ** 2 for share in chance.values()])
    assert alpha["low"] <= 2 * agreeing - 1 <= alpha["high"]
    held = json.loads(
        run("agree", "votes.csv", "-m", "l2", "--distances", "fitted=held.csv", "-f", "json", "--count", "votes")
    )
    fitted = next(result for result in held["results"] if result["metric"] == "fitted")
    if triplets == 300:
        assert fitted["low"] <= found["agreement"] <= fitted["high"] + 2
