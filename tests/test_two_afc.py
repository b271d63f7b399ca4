"""The benchmark script as people use it."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import two_afc
from examples.make_triplets import make_triplets
from lpips_lite import LPIPS, lpips, read_image, ssim
from lpips_lite.votes import distances
from lpips_lite.votes.triplets import load
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_triplets(tmp_path_factory.mktemp("data") / "machine-made", 60)


def run(*arguments):
    result = CliRunner().invoke(two_afc.main, [str(argument) for argument in arguments])
    assert result.exception is None, result.output
    return result.stdout


def frame(*arguments):
    return pd.read_csv(io.StringIO(run(*arguments, "--format", "csv"))).set_index(["metric", "family"])


def test_scores_are_those_of_a_plain_loop(data, tmp_path):
    table = frame(data, "--metric", "lite,SSIM:matlab", "-m", "lite:weights=uniform", "--cache", tmp_path)
    measures = {
        "lite": lambda x, y: lpips(x, y, LPIPS("lite")),
        "lite:weights=uniform": lambda x, y: lpips(x, y, LPIPS("lite", channel_weights="uniform")),
        "ssim:matlab": lambda x, y: -ssim(x, y, variant="matlab"),
    }
    for name, measure in measures.items():
        scores = []
        for t in load([data]):
            ref, p0, p1 = (read_image(path)[None] for path in (t.ref, t.p0, t.p1))
            d0, d1 = measure(p0, ref).item(), measure(p1, ref).item()
            scores.append(t.judgement if d1 < d0 else 1 - t.judgement if d0 < d1 else 0.5)
        row = table.loc[name, "machine-made"]
        assert row.agreement == pytest.approx(100 * np.mean(scores))
        assert row.low <= row.agreement <= row.high


def test_distances_are_kept_and_a_broken_run_continues(data, tmp_path, monkeypatch):
    whole = run(data, "--metric", "lite", "--cache", tmp_path / "whole")
    reads = []

    def count_and_fail(path):
        reads.append(path)
        if len(reads) == 100:
            raise KeyboardInterrupt
        return read_image(path)

    monkeypatch.setattr(distances, "read_image", count_and_fail)
    CliRunner().invoke(two_afc.main, [str(data), "--metric", "lite", "--cache", str(tmp_path / "broken")])
    (kept,) = (tmp_path / "broken").glob("*.jsonl")
    (all_of_them,) = (tmp_path / "whole").glob("*.jsonl")
    assert 0 < len(kept.read_text().split()) < len(all_of_them.read_text().split())
    assert run(data, "--metric", "lite", "--cache", tmp_path / "broken") == whole
    reads.clear()
    run(data, "--metric", "lite", "--cache", tmp_path / "broken")
    assert reads == []


def test_all_bapps_votes_in_the_papers_layout(shared, tmp_path):
    picture = tmp_path / "bars.png"
    out = run("--distances", f"vanilla={shared / 'human/bapps_votes'}", "--plot", picture)
    table = out.partition("2AFC agreement")[2].partition("ties")[0]
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    assert "| traditional | cnn | superres | deblur | color | frameinterp | mean |" in lines["metric"]
    scores = [cell.split()[0] for cell in lines["vanilla"].split("|")[2:-1]]
    assert scores == ["77.48", "82.87", "71.19", "61.04", "65.23", "62.43", "70.04"]
    assert "76.06 | 80.43 | 67.00 | 57.62 | 61.03 | 60.76" in lines["people, leave-one-out (36344 triplets)"]
    assert "80.84 | 84.35 | 73.60 | 66.09 | 68.83 | 68.61" in lines["people, p² + (1−p)²"]
    assert "LPIPS alex (published)" in lines
    assert "the paper prints 73.4 and 67.1" in out
    with Image.open(picture) as bars:
        assert min(bars.size) > 400


def test_ceilings_fit_the_number_of_votes(tmp_path):
    rows = [("r", 0.1, 0.2, 0.0, 1), ("r", 0.1, 0.2, 1.0, 1)]
    pd.DataFrame(rows, columns=["ref", "d0", "d1", "judgement", "votes"]).to_csv(tmp_path / "one.csv", index=False)
    out = run("--distances", f"mine={tmp_path / 'one.csv'}")
    assert "people" not in out.replace("majority of people", "")  # one vote each: nobody to leave out


def test_votes_and_triplets_are_told_apart(tmp_path):
    rows = [("r", 0.1, 0.2, 0.0, 9), ("s", 0.1, 0.2, 1.0, 1)]
    pd.DataFrame(rows, columns=["ref", "d0", "d1", "judgement", "votes"]).to_csv(tmp_path / "one.csv", index=False)
    for count, expected in (("triplets", 50), ("votes", 90)):
        data = json.loads(run("--distances", f"m={tmp_path / 'one.csv'}", "--count", count, "--format", "json"))
        assert data["counts"] == count
        (score,) = [line["agreement"] for line in data["results"] if line["metric"] == "m"]
        assert score == pytest.approx(expected)


def test_runs_as_a_script_without_data_and_says_that_it_is_machine_made(tmp_path):
    command = [sys.executable, ROOT / "benchmarks/two_afc.py", "--metric", "l2"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "MACHINE-MADE judgments of the example scene, not people; 240 triplets" in result.stdout
    assert "| l2 | 9" in result.stdout


@pytest.mark.parametrize("metric", ["lpips", "ssim:octave", "alex:weights", "lite,,pnsr"])
def test_an_unknown_metric_is_a_usage_error(metric):
    result = CliRunner().invoke(two_afc.main, ["--metric", metric])
    assert result.exit_code == 2
    assert "Invalid value for '-m' / '--metric'" in result.stderr


def test_measures_run_in_inference_mode_only(data, tmp_path):
    run(data, "--metric", "l2", "--cache", tmp_path)
    assert torch.is_grad_enabled()
