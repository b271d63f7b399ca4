"""Every benchmark runs, on as little as it takes."""

import importlib
import re

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.conftest import ROOT
from tests.peers import random_tower

ARGUMENTS = {
    "folders": "--tower-weights {folder}/alex.pth --count 2 --side 64",
    "half_precision": "--metric lite --metric gram-lite --count 1 --side 32",
    "lite": "--photos {photos} --teacher {folder}/alex.pth --count 5",
    "memory": "--net alex --batch 2 --side 192",
    "parity": "",
    "recover": "--photos {photos} --alex {folder}/alex.pth --judge {folder}/squeeze.pth --count 1 --steps 2",
    "searching": "--count 20 --queries 2",
    "speed": "--net alex --batch 1 --side 64 --repeats 1",
    "speed_baselines": "--batch 1 --side 192 --repeats 1",
    "tradeoff": "{folder}/agreement.csv --out {folder}/tradeoff.png",
}
ELSEWHERE = {"two_afc"}  # has tests of its own
SLOW = {"lite", "memory"}  # half a minute each


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Random networks and a table of agreement; benchmarks need the packages that they compare with."""
    for peer in ("lpips", "torchmetrics", "piq", "pytorch_msssim", "skimage", "matplotlib"):
        pytest.importorskip(peer)
    path = tmp_path_factory.mktemp("benchmarks")
    for net in ("alex", "squeeze"):
        torch.save(random_tower(net), path / f"{net}.pth")
    (path / "agreement.csv").write_text("metric,family,agreement,low,high\nl2,votes,70,65,75\nssim,votes,72,,\n")
    return path


def test_every_benchmark_is_run_here():
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "@click.command" in path.read_text()}
    assert scripts == ARGUMENTS.keys() | ELSEWHERE


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in ARGUMENTS])
def test_a_benchmark_prints_its_table(name, folder, photos_tar):
    arguments = ARGUMENTS[name].format(folder=folder, photos=photos_tar).split()
    result = CliRunner().invoke(importlib.import_module(f"benchmarks.{name}").main, arguments)
    assert result.exception is None, result.output
    if name == "tradeoff":
        with Image.open(folder / "tradeoff.png") as picture:
            assert picture.width > 300
        return
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines() if "|" in line]
    header, dashes, *cells = rows
    assert set("".join(dashes)) == {"-"}
    assert cells
    assert {len(row) for row in cells} == {len(header)}
    assert not re.search(r"\bnan\b", result.stdout)
    if name == "folders":
        means = dict(zip([row[0] for row in cells], [float(row[-1]) for row in cells], strict=True))
        assert means["ours, alex"] == pytest.approx(means["plain loop over lpips, alex"], rel=1e-5)
