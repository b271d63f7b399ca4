"""The metric kept by torchmetrics: the mean of all pairs, in one process and in two."""

import math
import os

import pytest
import torch
from torch import nn

from lpips_lite import LPIPS, LPIPSMetric
from tests.test_loss import free_port


def batches(sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(n, 3, 32, 32, generator=generator), torch.rand(n, 3, 32, 32, generator=generator)) for n in sizes
    ]


def test_mean_of_all_pairs_whatever_the_batches():
    metric = LPIPS("lite", reduction="none")
    tracked = LPIPSMetric(LPIPS("lite", reduction="sum"))
    pairs = batches((1, 4, 2))
    values = [tracked(x, y) for x, y in pairs]  # forward returns the mean of the batch
    expected = [metric(x, y) for x, y in pairs]
    torch.testing.assert_close(torch.stack(values).float(), torch.stack([e.mean() for e in expected]))
    torch.testing.assert_close(tracked.compute().float(), torch.cat(expected).mean())
    tracked.reset()
    tracked.update(*pairs[0])
    torch.testing.assert_close(tracked.compute().float(), expected[0].mean())


class Given(nn.Module):
    """A distance that is known: x itself, (N, 1) -> (N,)."""

    def _distances(self, x, y):
        return x.squeeze(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("way", ["update", "forward", "merge"])
def test_the_mean_of_a_million_is_right_without_float64(way, dtype):
    values = torch.rand(4000, 250, 1, dtype=torch.float64).to(dtype) / 100 + 0.1
    tracked, plain = LPIPSMetric(Given()), torch.zeros(())
    if way == "merge":  # as of many processes
        for batches in values.chunk(40):
            part = LPIPSMetric(Given()) if tracked.update_count else tracked
            for batch in batches:
                part.update(batch, None)
            if part is not tracked:
                tracked.merge_state(part)
    else:
        for batch in values:
            getattr(tracked, way)(batch, None)
            plain += batch.sum().float()
    mean = math.fsum(values.flatten().tolist()) / values.numel()
    assert tracked.compute().item() == pytest.approx(mean, rel=2e-7)
    assert all(state.dtype != torch.float64 for state in (tracked.total, tracked.compute()))
    assert way == "merge" or plain.item() / values.numel() != pytest.approx(mean, rel=1e-6)


def test_states_are_three_numbers_and_nothing_is_trainable():
    tracked = LPIPSMetric()
    for x, y in batches([2] * 5):
        tracked.update(x.requires_grad_(), y)
    states = [getattr(tracked, name) for name in tracked._defaults]
    assert [state.numel() for state in states] == [2, 1]
    assert list(tracked.parameters()) == []
    assert dict(tracked.state_dict()) == {}
    assert tracked.higher_is_better is False


def _worker(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    tracked = LPIPSMetric()
    for x, y in batches((3, 1, 2, 1))[:3] if rank == 0 else batches((3, 1, 2, 1))[3:]:  # six pairs and one
        tracked.update(x, y)
    torch.save(tracked.compute(), f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_with_uneven_shares_give_the_mean_of_one(tmp_path):
    torch.multiprocessing.spawn(_worker, (free_port(), str(tmp_path)), nprocs=2)
    one = LPIPSMetric()
    for x, y in batches((3, 1, 2, 1)):
        one.update(x, y)
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), one.compute(), rtol=1e-6, atol=0)
