"""Exported distances: torch.export and ONNX give the numbers of the metric, for any batch and size."""

import numpy as np
import pytest
import torch
from torch.export import Dim

from lpips_lite import LPIPS

PAIR = torch.rand(2, 3, 64, 72), torch.rand(2, 3, 64, 72)
NAMED = {0: Dim("batch", min=1, max=64), 2: Dim("height", min=48, max=1024), 3: Dim("width", min=48, max=1024)}
FREE = dict.fromkeys((0, 2, 3), getattr(Dim, "AUTO", None))
OTHERS = [(1, 3, 64, 72), (3, 3, 49, 64), (5, 3, 63, 110)]

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(torch.__version__ < (2, 9), reason="torch 2.4 cannot prove that any height and width will do"),
]


def metric_of(net, reduction="none", file=None):
    if file:
        return LPIPS(net, tower_weights=file, channel_weights=file, reduction=reduction)
    return LPIPS(net, tower_weights=None if net == "lite" else "random:0", reduction=reduction)


def others():
    return ((torch.rand(shape), torch.rand(shape)) for shape in OTHERS)


@pytest.mark.parametrize(
    ("net", "reduction", "sizes"),
    [("lite", "none", FREE), ("lite", "mean", NAMED), *((net, "none", NAMED) for net in ("alex", "vgg", "squeeze"))],
)
def test_torch_export_with_any_batch_and_size(net, reduction, sizes):
    metric = metric_of(net, reduction)
    program = torch.export.export(metric, PAIR, dynamic_shapes=(sizes, sizes)).module()
    for x, y in others():
        torch.testing.assert_close(program(x, y), metric(x, y), rtol=1e-5, atol=0)


def test_torch_export_of_two_heads(two_heads):
    metric = metric_of("lite", file=two_heads)
    program = torch.export.export(metric, PAIR, dynamic_shapes=(FREE, FREE)).module()
    for x, y in others():
        torch.testing.assert_close(program(x, y), metric(x, y), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("net", "reduction", "heads"), [("lite", "mean", 1), ("lite", "none", 2), ("squeeze", "none", 1)]
)
def test_onnx_runtime_gives_the_same_distance_for_any_batch_and_size(net, reduction, heads, two_heads, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    metric = metric_of(net, reduction, two_heads if heads == 2 else None)
    program = torch.onnx.export(
        metric, PAIR, dynamo=True, input_names=["x", "y"], dynamic_shapes=(NAMED, NAMED), verbose=False
    )
    program.save(tmp_path / "distance.onnx")
    runtime = onnxruntime.InferenceSession(tmp_path / "distance.onnx", providers=["CPUExecutionProvider"])
    assert [argument.shape for argument in runtime.get_inputs()] == [["batch", 3, "height", "width"]] * 2
    for x, y in others():
        (found,) = runtime.run(None, {"x": x.numpy(), "y": y.numpy()})
        np.testing.assert_allclose(found, metric(x, y).numpy(), rtol=1e-5)
