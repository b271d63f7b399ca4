"""The distance leaves Python: torch.export and ONNX give the numbers of the metric."""

import numpy as np
import pytest
import torch

from lpips_lite import LPIPS

PAIR = torch.rand(2, 3, 64, 72), torch.rand(2, 3, 64, 72)


def metric_of(net):
    return LPIPS(net, tower_weights=None if net == "lite" else "random:0", reduction="none")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("net", ["lite", "alex"])
def test_torch_export_with_any_batch_and_size(net):
    metric = metric_of(net)
    sizes = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(metric, PAIR, dynamic_shapes=(sizes, sizes))
    other = torch.rand(3, 3, 96, 80), torch.rand(3, 3, 96, 80)
    torch.testing.assert_close(program.module()(*other), metric(*other), rtol=1e-5, atol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("net", ["lite", "alex"])
def test_onnx_runtime_gives_the_same_distance(net, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    metric = metric_of(net)
    program = torch.onnx.export(
        metric, PAIR, dynamo=True, input_names=["x", "y"], output_names=["distance"], verbose=False
    )
    program.save(tmp_path / "distance.onnx")
    runtime = onnxruntime.InferenceSession(tmp_path / "distance.onnx", providers=["CPUExecutionProvider"])
    x, y = torch.rand_like(PAIR[0]), torch.rand_like(PAIR[1])
    (found,) = runtime.run(None, {"x": x.numpy(), "y": y.numpy()})
    np.testing.assert_allclose(found, metric(x, y).numpy(), rtol=1e-5)
