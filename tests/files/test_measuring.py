"""From decoded pairs to rows: each metric is computed whether or not another one refuses the pair."""

import math

import pandas as pd
import pytest
import torch

from lpips_lite import compare
from lpips_lite.catalog import METRICS, LoadedMetric, parse_metrics
from lpips_lite.files.decoding import Decoded
from lpips_lite.files.measuring import Measurer, check_device, load_metrics, measure_pairs
from lpips_lite.files.pairing import Pair
from lpips_lite.files.reading import Reader
from lpips_lite.files.settings import Settings
from tests.command import noise, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with pairs of several sizes."""
    monkeypatch.chdir(tmp_path)
    for name, size in {"large": (200, 180), "middle": (100, 100), "small": (20, 14), "large2": (200, 180)}.items():
        for side in ("a", "b"):
            noise(tmp_path / side / f"{name}.png", size, seed=(len(name), side == "b"))
    return tmp_path


def decoded(number=0, size=(20, 24)):
    pair = Pair(f"r{number}.png", f"i{number}.png", str(number))
    torch.manual_seed(number)
    x, y = (torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in range(2))
    return Decoded(pair, x, y, False, "0" * 16)


def measured(metrics, chunk, **settings):
    metrics = {name: LoadedMetric(compute, name) for name, compute in metrics.items()}
    return list(Measurer(metrics, Settings(**settings)).measure(chunk))


def test_a_metric_that_refuses_a_pair_leaves_the_others_their_numbers(folder):
    table = compare("a", "b", metrics=["ms-ssim", "psnr", "lite"]).set_index("image")
    assert table.psnr.notna().all()
    refused = table["ms-ssim"].isna()
    assert refused.tolist() == ["large" not in image for image in table.index]
    assert table.lite.isna().tolist() == ["small" in image for image in table.index]
    assert table.error.notna().tolist() == (refused | table.lite.isna()).tolist()
    assert "b/middle.png: ms-ssim: " in table.error["b/middle.png"]
    assert "lite" not in table.error["b/middle.png"]
    assert "; b/small.png: lite: " in table.error["b/small.png"]
    alone = compare("a", "b", metrics=["psnr"]).set_index("image")
    pd.testing.assert_series_equal(table.psnr, alone.psnr)


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "table"])
def test_partial_rows_in_every_format(folder, form):
    status, out, err = run("a", "b", "-m", "ms-ssim,psnr", "-f", form)
    assert status == 2
    assert err.count("error: ") == 2
    lines = [line for line in out.splitlines() if "middle" in line]
    assert lines
    if form == "table":
        assert "–" in lines[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_an_error(value):
    (row,) = measured({"lite": lambda x, y: torch.full((len(x),), value)}, [decoded()])
    assert row["lite"] is None
    assert row["error"] == f"i0.png: lite: gave {value}, which is no result"


def test_infinity_is_a_value_of_psnr():
    (row,) = measured({"psnr": lambda x, y: torch.full((len(x),), math.inf)}, [decoded()])
    assert (row["psnr"], row["error"]) == (math.inf, None)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("no space"), MemoryError()]
)
def test_a_batch_without_room_is_tried_pair_by_pair(error):
    sizes = []

    def compute(x, y):
        sizes.append(len(x))
        if len(x) > 1 or len(sizes) == 3:
            raise error
        return torch.ones(len(x))

    loaded = LoadedMetric(compute, "s", encode=lambda x: x, distance=lambda x, y: x)
    rows = list(Measurer({"lite": loaded}, Settings()).measure([decoded(n) for n in range(4)]))
    assert sizes == [4, 1, 1, 1, 1]
    assert [row["lite"] for row in rows] == [1, None, 1, 1]
    assert rows[1]["error"].startswith("i1.png: lite: cannot be computed here (")


def test_numbers_do_not_depend_on_the_batch(folder):
    for number in range(9):
        for side in ("c", "d"):
            noise(folder / side / f"{number}.png", (64, 48), seed=(number, side == "d"))
    metrics = ["lite", "psnr", "ssim", "l1", "fsim", "gram-lite"]
    tables = [compare("c", "d", metrics=metrics, batch_size=size) for size in (1, 2, 8)]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_notes_are_told_once_for_a_reference_that_repeats(folder):
    from PIL import Image

    Image.new("RGBA", (200, 180), (255, 0, 0, 128)).save("clear.png")
    status, _, err = run("clear.png", "a/large.png", "a/large2.png", "b/large.png", "-m", "l1", "--workers", "3")
    assert (status, err) == (0, "note: clear.png: transparent; composited on white\n")


def test_memory_does_not_grow_with_the_list(folder):
    """Pictures are freed: few of them are alive at any time."""
    import gc
    import weakref

    noise(folder / "x.png", (64, 64))
    pairs = [Pair(folder / "x.png", folder / "x.png", str(number)) for number in range(130)]
    settings, alive, most = Settings(), weakref.WeakSet(), 0
    for result, _ in measure_pairs(pairs, load_metrics(parse_metrics(["l1"]), settings), settings, Reader()):
        alive.add(result)
        if result.pair.name.endswith("9"):
            gc.collect()
            most = max(most, len(alive))
    assert most <= 80  # of which 64 are a chunk


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nonsense", ""])
def test_devices_that_cannot_be_used_are_refused(device):
    with pytest.raises(ValueError, match=r"not usable on this machine .*; device='cpu' always is"):
        check_device(Settings(device=device))


def test_bf16_is_for_towers_only(folder):
    """Every metric of the catalog without a tower has the same digits in both precisions."""
    plain = [name for name, entry in METRICS.items() if "tower" not in entry.options]
    assert len(plain) >= 11
    full, half = (
        compare("a/large.png", "b/large.png", metrics=[*plain, "lite"], precision=p) for p in ("fp32", "bf16")
    )
    pd.testing.assert_frame_equal(full[plain], half[plain], check_exact=True)
    assert half.lite[0] != full.lite[0]
    assert half.lite[0] == pytest.approx(full.lite[0], rel=0.02)
