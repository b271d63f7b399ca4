"""The metric as a loss in a training loop: inert, deterministic, finite, and moved and copied correctly."""

import copy
import io
import os
import pickle
import shutil

import pytest
import torch
from torch import nn

from lpips_lite import LPIPS, FeatureTower, GramLoss
from tests.conftest import free_port


class Model(nn.Module):
    """A user's model with the loss as a submodule."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.loss = LPIPS("lite")
        self.style = GramLoss(FeatureTower("lite"))

    def forward(self, x, y):
        made = self.layer(x).sigmoid()
        return self.loss(made, y) + self.style(made, y)


def test_nothing_of_ours_is_registered():
    metric = LPIPS("lite")
    assert list(metric.parameters()) == []
    assert list(metric.buffers()) == []
    assert metric.state_dict() == {}
    assert {name.split(".")[0] for name in Model().state_dict()} == {"layer"}


def test_train_mode_thawing_and_checkpoints_change_nothing(pair):
    model = Model()
    before, signature = model.loss(*pair), model.loss.signature
    model.train().requires_grad_(True)
    model.load_state_dict(Model().state_dict())
    assert model.loss(*pair).item() == before.item()
    assert not any(
        tensor.requires_grad for tensor in (*model.loss.tensors.values(), *model.loss.tower.tensors.values())
    )
    assert model.loss.signature == signature


def test_a_training_step_changes_the_model_and_not_the_loss(pair):
    model = Model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    before = {name: tensor.clone() for name, tensor in model.loss.tower.tensors.items()}
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(*pair)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.loss.tower.tensors.items())


def test_descent_on_the_distance_brings_images_closer():
    metric, target = LPIPS("lite"), torch.rand(1, 3, 48, 48)
    x = torch.rand(1, 3, 48, 48, requires_grad=True)
    start = metric(x, target).item()
    optimizer = torch.optim.Adam([x], lr=0.02)
    for _ in range(60):  # the start is at the limit of the near head, where the distance falls slowly
        optimizer.zero_grad()
        metric(x, target).backward()
        optimizer.step()
        x.data.clamp_(0, 1)
    assert metric(x, target).item() < start / 2


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_are_whole_and_separate(copier, pair):
    metric = LPIPS("lite")
    twin = copier(metric)
    assert twin.signature == metric.signature
    assert twin(*pair).item() == metric(*pair).item()
    shared = {t.data_ptr() for t in metric.tower.tensors.values()} & {t.data_ptr() for t in twin.tower.tensors.values()}
    assert not shared


def test_torch_save_round_trip(pair):
    metric, buffer = LPIPS("lite"), io.BytesIO()
    torch.save(metric, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=False)(*pair).item() == metric(*pair).item()


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double"])
def test_casting_a_parent_does_not_touch_the_numbers(cast, pair):
    model = Model()
    before = model.loss(*pair)
    getattr(model, cast)()
    assert model.loss(*pair).item() == before.item()
    assert {tensor.dtype for tensor in model.loss.tower.tensors.values()} == {torch.float32}


def test_tensors_follow_the_device_of_a_parent():
    model = Model().to("meta")
    assert model.loss.device.type == "meta"
    assert {t.device.type for t in model.loss.tower.tensors.values()} == {"meta"}
    on_cpu = torch.zeros(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"x is on cpu; expected the metric's device meta: use .to\('cpu'\)"):
        model.loss(on_cpu, on_cpu)


# -- gradients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["x", "y", "both"])
def test_gradients_for_either_or_both(which, pair):
    x, y = (image.double() for image in pair)
    metric = LPIPS("lite")
    for image, name in ((x, "x"), (y, "y")):
        image.requires_grad_(which in (name, "both"))
    metric(x, y).backward()
    for image, name in ((x, "x"), (y, "y")):
        assert (image.grad is not None) == (which in (name, "both"))
    both_x, both_y = (image.detach().clone().requires_grad_() for image in (x, y))
    metric(both_x, both_y).backward()
    for image, reference in ((x, both_x), (y, both_y)):
        if image.grad is not None:
            torch.testing.assert_close(image.grad, reference.grad)


IMAGES = {
    "black": lambda: torch.zeros(1, 3, 32, 32),
    "white": lambda: torch.ones(1, 3, 32, 32),
    "constant": lambda: torch.full((1, 3, 32, 32), 0.3),
    "random": lambda: torch.rand(1, 3, 32, 32),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("weights", [None, "zero"])
@pytest.mark.parametrize("y", IMAGES)
@pytest.mark.parametrize("x", IMAGES)
def test_gradients_are_finite_for_degenerate_images(x, y, weights):
    tower = None
    if weights == "zero":  # every feature is zero, where the norm has no derivative
        tower = {name: torch.zeros_like(t) for name, t in FeatureTower("lite").tensors.items() if "features" in name}
    metric = LPIPS("lite", tower_weights=tower)
    image = IMAGES[x]().requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        distance = metric(image, IMAGES[y]())
        distance.backward()
    assert torch.isfinite(distance)
    assert torch.isfinite(image.grad).all()


def test_gradcheck_and_gradgradcheck():
    metric = LPIPS("lite", reduction="none")
    x, y = (torch.rand(1, 3, 16, 17, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(metric, (x, y), fast_mode=True)
    assert torch.autograd.gradgradcheck(metric, (x, y), fast_mode=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
def test_autocast_keeps_the_comparison_in_float32(dtype, tolerance, pair):
    metric = LPIPS("lite", reduction="none")
    x, y = pair[0].requires_grad_(), pair[1]
    with torch.autocast("cpu", dtype=dtype):
        distance = metric(x, y)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance, metric(x, y), rtol=tolerance, atol=0)
    distance.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
def test_half_precision_images(dtype, tolerance, pair):
    metric = LPIPS("lite", reduction="none")
    x, y = (image.to(dtype) for image in pair)
    distance = metric(x, y)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance, metric(x.float(), y.float()), rtol=tolerance, atol=0)


def test_input_dtype_decides_the_precision(pair):
    metric = LPIPS("lite")
    assert metric(*pair).dtype == torch.float32
    assert metric(pair[0].double(), pair[1].double()).dtype == torch.float64


# -- transforms ----------------------------------------------------------------------------------------------------


def test_compile_fullgraph_with_gradients(pair):
    metric = LPIPS("lite")
    compiled = torch.compile(metric, fullgraph=True, backend="aot_eager")
    x = pair[0].clone().requires_grad_()
    loss = compiled(x, pair[1])
    loss.backward()
    reference = pair[0].clone().requires_grad_()
    expected = metric(reference, pair[1])
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(x.grad, reference.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compile_with_inductor(pair):
    metric = LPIPS("lite")
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(metric, fullgraph=True)(*pair), metric(*pair), rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_export(pair):
    metric = LPIPS("lite", reduction="none")
    program = torch.export.export(metric, pair)
    other = tuple(torch.rand_like(image) for image in pair)
    torch.testing.assert_close(program.module()(*other), metric(*other))


def test_functional_gradient(pair):
    metric = LPIPS("lite")
    x = pair[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(metric(x, pair[1]), x)
    torch.testing.assert_close(torch.func.grad(metric)(pair[0], pair[1]), expected)


# -- distributed ---------------------------------------------------------------------------------------------------


def _ddp_worker(rank, port, folder):
    """Train one step under DDP and record the bytes that DDP broadcasts."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    model = DistributedDataParallel(Model(), broadcast_buffers=True)
    synced = [tuple(t.shape) for t in model.modules_buffers]
    torch.manual_seed(rank)
    for _ in range(2):
        loss = model(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
        loss.backward()
    gradient = model.module.layer.weight.grad.clone()
    torch.save((synced, gradient, [n for n, _ in model.named_parameters()]), f"{folder}/{rank}.pt")
    del model, loss  # with their threads, while both processes exist
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_ddp_sees_no_parameter_or_buffer_of_ours(tmp_path):
    torch.multiprocessing.spawn(_ddp_worker, (free_port(), str(tmp_path)), nprocs=2)
    (synced0, gradient0, names), (synced1, gradient1, _) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert synced0 == synced1 == []  # nothing to broadcast at a step
    assert names == ["module.layer.weight", "module.layer.bias"]
    torch.testing.assert_close(gradient0, gradient1)
