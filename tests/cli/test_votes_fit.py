"""`lpips-votes fit`: from a table of votes to a metric; interrupts, several processes, and wrong arguments."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from examples.make_triplets import make_triplets
from lpips_lite import LPIPS, compare, read_image
from lpips_lite.cli.votes import main
from lpips_lite.tensor_files import read_metadata
from lpips_lite.votes.agreement import agreement
from lpips_lite.votes.features import extract
from lpips_lite.votes.head_vectors import HeadVectors
from lpips_lite.votes.objectives import fit_ranking
from lpips_lite.votes.triplets import load
from tests.command import ENVIRONMENT, noise, run
from tests.conftest import free_port
from tests.peers import two_headed_file

HEADER = "ref,p0,p1,votes_p0,votes_p1\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A BAPPS-shaped tree of 120 machine-made triplets."""
    return make_triplets(tmp_path_factory.mktemp("bapps") / "machine-made", 120)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


def fit(*arguments):
    """Return exit status, stdout and stderr."""
    result = CliRunner().invoke(main, ["fit", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


def votes_of(count, row="r{0}.png,a{0}.png,b{0}.png,1,3"):
    """Write images of noise and a table of votes on them into the working folder."""
    for number in range(count):
        for part, name in enumerate("rab"):
            noise(Path(f"{name}{number}.png"), (64, 64), seed=3 * number + part)
    Path("votes.csv").write_text(HEADER + "".join(row.format(n) + "\n" for n in range(count)))
    return "votes.csv"


START = {"lite": "lite:weights=calibrated", "alex": "alex:tower=random:0:weights=uniform"}


@pytest.mark.parametrize(("net", "objective"), [("lite", "logistic"), ("alex", "logistic"), ("alex", "ranking")])
def test_from_votes_to_a_metric(data, tmp_path, net, objective, monkeypatch):
    monkeypatch.setattr("lpips_lite.votes.fit.fit_ranking", partial(fit_ranking, draws=5000))
    arguments = [data, "--metric", START[net], "-o", "mine.safetensors", "--objective", objective, "--folds", "2"]
    status, out, err = fit(*arguments, "--held-out", "held.csv", "--votes-per-judgement", "2")
    assert status == 0, err
    assert [line.split("% of votes")[1].split()[0] for line in out.splitlines()] == [
        "lpips-lite/1.0",
        "fitted,",
        "gain,",
    ]
    name = f"{net}:" + ("tower=random:0:" if net == "alex" else "") + "weights=mine.safetensors"
    assert f"wrote mine.safetensors: use it as --metric {name}" in err
    record, held = read_metadata(tmp_path / "mine.safetensors"), pd.read_csv("held.csv")
    assert (record["triplets"], record["votes"]) == ("120", "240")
    assert record["folds"] == "2"
    score = agreement(held.d0, held.d1, held.judgement, held.votes)
    assert score == pytest.approx(float(record["cross_validated_agreement"]), abs=1e-4)
    assert score > 0.85
    assert set(held.start) == {record["start"]}
    assert held.groupby("ref").fold.nunique().max() == 1
    loose = {"tower_weights": "random:0"} if net == "alex" else {}
    metric = LPIPS(net, channel_weights="mine.safetensors", reduction="none", **loose)
    assert "weights=custom-" in metric.signature
    triplets = load([data])
    ref, p0, p1 = (torch.stack([read_image(getattr(t, side)) for t in triplets]) for side in ("ref", "p0", "p1"))
    chosen = metric.preference(ref, p0, p1)
    assert agreement(1 - chosen, chosen, [1 - t.judgement for t in triplets]) > 0.85
    torch.testing.assert_close(chosen, 1 - metric.preference(ref, p1, p0))
    assert metric.preference(ref, p0, p0).tolist() == [0.5] * 120
    other = {key: 2 * tensor for key, tensor in metric.tower.tensors.items() if key.startswith("features")}
    with pytest.raises(ValueError, match=r"were fitted on tower \w+; expected this tower's"):
        LPIPS(net, channel_weights="mine.safetensors", tower_weights=other)
    status, out, err = run(triplets[0].ref, triplets[0].p0, "--metric", name, "--format", "json")
    assert status == 0, err
    assert metric.signature in out
    table = compare(triplets[0].ref, triplets[0].p0, metrics=[name])
    assert table[name][0] == pytest.approx(metric(p0[:1], ref[:1]).item(), rel=1e-4)
    status, _, err = fit(data, "--metric", name, "-o", "again.safetensors")  # which was fitted to all of it
    assert status == 2
    assert "was trained on people's judgments of 120 of these 120 references" in err


@pytest.mark.parametrize("head", ["near", "far", None])
def test_one_head_of_two_is_fitted(data, tmp_path, head):
    start = load_file(two_headed_file(tmp_path / "two.safetensors"))
    arguments = ["-m", "lite:tower=two.safetensors:weights=two.safetensors", "-o", "mine.safetensors", "--folds", "2"]
    status, out, err = fit(data, *arguments, "--votes-per-judgement", "2", *(["--head", head] if head else []))
    assert status == 0, err
    assert "fitted, 2-fold by reference" in out
    record, mine = read_metadata(tmp_path / "mine.safetensors"), load_file("mine.safetensors")
    assert record["head"] == (head or "near")
    assert mine.keys() == {key for key in start if not key.startswith("features")}
    held = "near" if head == "far" else "channel_weights"
    for key, tensor in mine.items():
        assert torch.equal(tensor, start[key]) == key.startswith(held), key
    metric = LPIPS("lite", channel_weights="mine.safetensors", tower_weights="two.safetensors", reduction="none")
    assert metric.signature.endswith(" heads=2")
    assert metric.slope == pytest.approx(float(record["slope"]))
    triplets = load([data])[:24]
    ref, p0, p1 = (torch.stack([read_image(getattr(t, side)) for t in triplets]) for side in ("ref", "p0", "p1"))
    known = extract(triplets, metric, Path("some")).distances(HeadVectors.of(metric))
    np.testing.assert_allclose(known, [metric(image, ref) for image in (p0, p1)], rtol=1e-4, atol=1e-7)


def test_a_fit_of_a_fit_lists_what_both_learnt_from(tmp_path):
    votes_of(6)
    assert fit("votes.csv", "-m", "lite:weights=calibrated", "-o", "one.safetensors")[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        for part, name in enumerate("rab"):
            noise(other / f"{name}{number}.png", (64, 64), seed=100 + 3 * number + part)
    (other / "votes.csv").write_text(HEADER + "".join(f"r{n}.png,a{n}.png,b{n}.png,1,3\n" for n in range(3)))
    assert fit(other, "-m", "lite:weights=one.safetensors", "-o", "two.safetensors")[0] == 0
    one, two = (LPIPS("lite", channel_weights=f"{name}.safetensors").trained_on for name in ("one", "two"))
    assert (len(LPIPS("lite").trained_on), len(one), len(two)) == (50, 56, 59)
    assert one < two
    (other / "votes.csv").write_text(HEADER + "r0.png,a0.png,b0.png,1,3\n../r5.png,../a5.png,../b5.png,1,3\n")
    status, _, err = fit(other, "-m", "lite:weights=two.safetensors", "-o", "three.safetensors")
    assert status == 2
    assert "judgments of 2 of these 2 references" in err
    assert not (tmp_path / "three.safetensors").exists()


@pytest.mark.parametrize(
    ("count", "row", "mark"),
    [
        (6, "r{0}.png,a{0}.png,b{0}.png,2,2", "undecided: "),
        (6, "r{0}.png,r{0}.png,a{0}.png,4,0", "separable: "),
        (6, "r{0}.png,r{0}.png,a{0}.png,0,4", "contrary: "),
        (1, "r{0}.png,a{0}.png,b{0}.png,1,3", "one reference: "),
    ],
)
def test_votes_that_say_nothing_give_a_mark_and_no_slope(count, row, mark):
    status, out, err = fit(votes_of(count, row), "--metric", "lite:weights=calibrated", "-o", "w.safetensors")
    assert status == 0, err
    assert f"warning: {mark}" in err
    record = read_metadata(Path("w.safetensors").absolute())
    assert mark in record["uncertain"]
    assert "slope" not in record
    assert "no interval" in out
    metric, x = LPIPS("lite", channel_weights="w.safetensors"), torch.rand(1, 3, 64, 64)
    assert torch.isfinite(metric(x, 1 - x))
    with pytest.raises(ValueError, match="carry no slope"):
        metric.preference(x, x, x)


WRONG = {  # arguments after DATA, and the message
    "no weights named": (["-m", "alex"], "which weights to start from? expected alex:weights=uniform, weights=v0.1"),
    "lite without weights": (["-m", "lite"], "weights=calibrated or weights=FILE"),
    "no metric": ([], "Missing option '-m' / '--metric'"),
    "two metrics": (["-m", "alex:weights=v0.1,lite"], "2 metrics; expected one"),
    "no channel weights": (["-m", "ssim"], "has no channel weights to fit; expected one of lite, alex, vgg, squeeze"),
    "unknown": (["-m", "alexx"], "unknown metric 'alexx'"),
    "v0.0": (["-m", "alex:tower=random:0:weights=v0.0"], "does not scale images"),
    "unscaled": (["-m", "alex:unscaled:weights=uniform"], "does not scale images"),
    "no such weights": (["-m", "lite:weights=none.safetensors"], "none.safetensors does not exist"),
    "near of one head": (["-m", "lite:weights=uniform", "--head", "near"], "--head near: the metric has one head"),
    "one fold": (["-m", "lite:weights=uniform", "--folds", "1"], "--folds"),
    "other suffix": (["-m", "lite:weights=uniform", "-o", "w.pth"], "expected a name that ends in .safetensors"),
    "no such folder": (["-m", "lite:weights=uniform", "-o", "no/w.safetensors"], "no such folder: no"),
    "replaces the table": (["-m", "lite:weights=uniform", "--held-out", "votes.csv"], "would replace the data"),
    "replaces an image": (["-m", "lite:weights=uniform", "--held-out", "a1.png"], "would replace a judged image"),
    "no such device": (["-m", "lite:weights=uniform", "--device", "nothing"], "--device nothing: not usable"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(tmp_path, arguments, message):
    status, _, err = fit(votes_of(2), "-o", "w.safetensors", *arguments)
    assert status == 2
    assert message in err
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("r0.png,a0.png,b0.png,-1,3", "votes.csv:2"),
        ("r0.png,a0.png,b0.png,0,0", "votes.csv:2"),
        ("r0.png,a0.png,none.png,1,3", "votes.csv:2: p1"),
        ("none.png,a0.png,b0.png,1,3", "votes.csv:2: ref"),
        ("r0.png,small.png,b0.png,1,3", "votes.csv:2: p0 small.png: size"),
        ("r0.png,votes.csv,b0.png,1,3", "votes.csv:2: p0"),
        ("r0.png,a0.png,./a0.png,1,3", "votes.csv:2"),
    ],
)
def test_wrong_data(row, message):
    votes_of(2)
    noise(Path("small.png"), (32, 32))
    Path("votes.csv").write_text(f"{HEADER}{row}\n")
    status, _, err = fit("votes.csv", "--metric", "lite:weights=uniform", "-o", "w.safetensors")
    assert status == 2
    assert message in err


@pytest.mark.parametrize("text", [HEADER, "", "a,b\n1,2\n"])
def test_data_without_triplets(tmp_path, text):
    (tmp_path / "votes.csv").write_text(text)
    status, _, err = fit("votes.csv", "--metric", "lite:weights=uniform", "-o", "w.safetensors")
    assert status == 2
    assert "error: " in err


def test_help_imports_neither_torch_nor_pandas():
    code = "import sys\nfrom lpips_lite.cli.votes import main\ntry: main(['fit', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'numpy', 'pandas', 'scipy', 'rich'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert "lpips-votes fit votes.csv --metric alex:weights=v0.1" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "[]"


def test_interrupted_killed_and_shared_out_features_are_the_same(data, tmp_path):
    script = tmp_path / "votes.py"
    script.write_text("from lpips_lite.cli.votes import main; main()")
    start = [str(script), "fit", str(data), "--metric", "lite:weights=uniform", "--folds", "2", "-o", "w.safetensors"]
    environment = {**os.environ, **ENVIRONMENT}
    whole = extract(load([data]), LPIPS("lite"), tmp_path / "whole").differences
    done = 0
    for signal_sent, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        command = [sys.executable, *start, "--cache", "killed", "--batch-size", "1"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(6000):  # two minutes at most
            marks = list((tmp_path / "killed").glob("*/done.npy"))
            if marks and np.load(marks[0]).sum() > done + 20:
                break
            time.sleep(0.02)
        process.send_signal(signal_sent)
        _, err = process.communicate()
        assert process.returncode == status, err
        assert err.strip() == ("interrupted" if status == 130 else "")
        (mark,) = (tmp_path / "killed").glob("*/done.npy")
        assert done < np.load(mark).sum() < len(whole)
        done = int(np.load(mark).sum())
    subprocess.run([sys.executable, *start, "--cache", "killed"], env=environment, check=True, capture_output=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    shared = [*torchrun, f"--master-port={free_port()}", *start, "--cache", "shared"]
    told = subprocess.run(shared, env=environment, check=True, capture_output=True, text=True, timeout=240)
    assert told.stdout.count("% of votes  fitted, 2-fold by reference") == 1
    for cache in ("killed", "shared"):
        (matrix,) = (tmp_path / cache).glob("*/differences.npy")
        np.testing.assert_allclose(np.load(matrix), whole, rtol=0, atol=1e-6)
