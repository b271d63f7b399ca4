"""Complete training steps with the distance: nothing changes that should not, and memory does not grow."""

import gc
import resource
import shutil

import pytest
import torch
from torch import nn

from lpips_lite import LPIPS


class Restorer(nn.Module):
    """A tiny model that holds its loss as a submodule, as people write it."""

    def __init__(self, **options):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)
        self.loss = LPIPS("lite", **options)

    def forward(self, x, y):
        return self.loss(self.layer(x).sigmoid(), y)


def batch(n=2, side=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, side, side, generator=generator), torch.rand(n, 3, side, side, generator=generator)


def fingerprint(metric):
    return [tensor.clone() for tensor in (*metric.tensors.values(), *metric.tower.tensors.values())]


def test_optimisers_averages_and_thawing_find_only_the_model():
    model = Restorer()
    before = fingerprint(model.loss)
    model.train().requires_grad_(True)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(*batch()).backward()
        optimizer.step()
        average.update_parameters(model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    assert sorted(model.state_dict()) == ["layer.bias", "layer.weight"]
    assert all(map(torch.equal, before, fingerprint(model.loss)))
    assert all(map(torch.equal, before, fingerprint(average.module.loss)))


def test_gradient_accumulation_is_one_large_batch():
    x, y = batch(8)
    whole, parts = Restorer(), Restorer()
    parts.load_state_dict(whole.state_dict())
    whole(x, y).backward()
    for part_x, part_y in zip(x.split(2), y.split(2), strict=True):
        (parts(part_x, part_y) / 4).backward()
    torch.testing.assert_close(whole.layer.weight.grad, parts.layer.weight.grad, rtol=1e-3, atol=1e-6)


def test_checkpointing_of_the_users_model_and_ours():
    x, y = batch()
    plain, checkpointed = Restorer(), Restorer(checkpoint=True)
    checkpointed.load_state_dict(plain.state_dict())
    plain(x, y).backward()
    torch.utils.checkpoint.checkpoint(checkpointed, x, y, use_reentrant=False).backward()
    torch.testing.assert_close(plain.layer.weight.grad, checkpointed.layer.weight.grad)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiling_the_whole_step():
    x, y = batch()
    model, compiled = Restorer(), Restorer()
    compiled.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(compiled.parameters(), lr=1.0)

    def step(x, y):
        loss = compiled(x, y)
        loss.backward()
        return loss

    loss = torch.compile(step)(x, y)
    expected = model(x, y)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(compiled.layer.weight.grad, model.layer.weight.grad, rtol=1e-3, atol=1e-6)
    optimizer.step()


def test_mixed_precision_with_a_gradient_scaler():
    torch.manual_seed(0)
    model, (x, y) = Restorer(), batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    scaler = torch.amp.GradScaler("cpu")
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = model(x, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert scaler.get_scale() >= 65536 / 4  # halved at each infinite gradient, of which there may be a few at first
    assert losses[-1] < losses[0]


def test_a_thousand_steps_in_constant_memory():
    model, (x, y) = Restorer(), batch(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            model(x, y).backward()
            optimizer.step()
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sum(
            issubclass(type(o), torch.Tensor) for o in gc.get_objects()
        )

    peak, tensors = run(100)
    later, still = run(900)
    assert still <= tensors
    assert later - peak < 16 * 1024  # KiB


def test_bitwise_deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for _ in range(2):
            torch.manual_seed(0)
            model, (x, y) = Restorer(), batch()
            loss = model(x, y)
            loss.backward()
            results.append((loss.detach(), model.layer.weight.grad))
        assert all(map(torch.equal, *results))
    finally:
        torch.use_deterministic_algorithms(False)
