"""The docs are right about half precision: the row of `lite` in the table, measured again on the bundled scene."""

import re

import pytest
import torch

from benchmarks.half_precision import DECADES, DTYPES, deviation, make_pairs, measure, references
from lpips_lite import LPIPS
from tests.conftest import ROOT

TABLE = re.findall(r"^\| `(\w+)`, (b?float16) \| (.*) \|$", (ROOT / "docs/conventions.md").read_text(), re.MULTILINE)


def test_every_net_and_dtype_is_in_the_table():
    assert [(net, dtype) for net, dtype, _ in TABLE] == [
        (net, dtype) for net in ("lite", "alex", "vgg", "squeeze") for dtype in DTYPES
    ]


@pytest.mark.parametrize("name", DTYPES)
def test_lite_is_as_near_as_documented(name):
    """On only three crops: at most twice the error, and a cosine at most 0.1 lower."""
    cells = next(cells for net, dtype, cells in TABLE if (net, dtype) == ("lite", name)).split(" | ")
    documented = [[float(number) for number in re.findall(r"[\d.]+", cell)] for cell in cells]
    metric, pairs = LPIPS("lite", reduction="none"), make_pairs(references(None, 3, 64))
    full = measure(metric, pairs)
    found = deviation(measure(metric, pairs, DTYPES[name], "autocast"), full)
    for low, (percent, cosine) in zip(DECADES, documented, strict=True):
        inside = (full.distance >= low) & (full.distance < 10 * low)
        assert inside.sum() >= 10
        assert 100 * found.error[inside].mean() <= 2 * percent, low
        assert 100 * found.error[inside].mean() >= percent / 4, low  # the table is not far too pessimistic, either
        assert found.cosine[inside].mean() >= cosine - 0.1, low


def test_float32_is_no_deviation():
    metric, pairs = LPIPS("lite", reduction="none"), make_pairs(references(None, 1, 32))
    found = deviation(measure(metric, pairs, scale=1), measure(metric, pairs))
    assert not found.error.any()
    torch.testing.assert_close(found.cosine, torch.ones_like(found.cosine))
