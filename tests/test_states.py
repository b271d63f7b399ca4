"""What frameworks do with a metric: function transforms, moves, replicas, shards, and absent devices."""

import copy
import pickle

import pytest
import torch
import torch.distributed.fsdp
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.autograd import forward_ad
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lpips_lite import LPIPS, FeatureTower, GramLoss, LPIPSMetric, images, lpips, strips
from lpips_lite.baselines import changes, template
from lpips_lite.frozen import Frozen
from tests import test_contract as contract
from tests.conftest import free_port
from tests.test_loss import Model

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # which torch.func imports


@pytest.fixture(params=["one head", "two heads"])
def metric(request, device, two_heads):
    weights = {"one head": {"channel_weights": "uniform"}}.get(
        request.param, {"tower_weights": two_heads, "channel_weights": two_heads}
    )
    return LPIPS("lite", reduction="none", **weights).to(device)


@pytest.fixture
def batches(device, dtype):
    """Three pairs of batches of two images, (3, 2, 3, 32, 35)."""
    x, y = torch.rand(2, 3, 2, 3, 32, 35)
    return x.to(device, dtype), y.to(device, dtype)


# -- transforms of functions -----------------------------------------------------------------------------------------

MASK = torch.zeros(2, 1, 32, 35).index_fill_(3, torch.arange(20), 1.0)
FUNCTIONS = {
    "forward": lambda metric: metric,
    "lpips": lambda metric: lambda x, y: lpips(x, y, metric),
    "layer_distances": lambda metric: metric.layer_distances,
    "distance_map": lambda metric: metric.distance_map,
    "mask": lambda metric: lambda x, y: metric(x, y, MASK.to(x), erode=True),
    "encodings": lambda metric: lambda x, y: metric.distance(metric.encode(x), metric.encode(y)),
    "pairwise": lambda metric: metric.pairwise,
    "gradient": lambda metric: torch.func.grad(lambda x, y: metric(x, y).sum()),
    "uint8": lambda metric: lambda x, y: metric(x.mul(255).byte(), y.mul(255).byte()),
}


@pytest.mark.parametrize("check_range", ["auto", "never"])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_vmap_is_a_loop(function, check_range, metric, batches):
    metric.check_range = check_range
    run = function(metric)
    found = torch.func.vmap(run)(*batches)
    expected = torch.stack([run(x, y) for x, y in zip(*batches, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_vmap_over_one_side_over_another_dimension_and_twice(metric, batches):
    x, y = batches
    torch.testing.assert_close(
        torch.func.vmap(metric, (0, None))(x, y[0]), torch.stack([metric(image, y[0]) for image in x])
    )
    torch.testing.assert_close(
        torch.func.vmap(metric, (1, 0))(x.transpose(0, 1), y), torch.func.vmap(metric, chunk_size=1)(x, y)
    )
    twice = torch.func.vmap(torch.func.vmap(lambda a, b: metric(a[None], b[None])))(x, y)
    torch.testing.assert_close(twice[..., 0], torch.func.vmap(metric)(x, y))


@pytest.mark.parametrize("dim", [0, 2])
def test_values_are_checked_under_vmap_too(metric, batches, dim):
    x, y = batches
    wrong = (y * 2 - 1).movedim(0, dim)
    with pytest.raises(ValueError, match="look like −1…1"):
        torch.func.vmap(metric, (0, dim))(x, wrong)
    masks = torch.ones(3, 2, 1, 32, 35, device=x.device)
    masks[1, 0] = 0
    with pytest.raises(ValueError, match="mask is empty for rows"):
        torch.func.vmap(metric, (0, 0, dim))(x, y, masks.movedim(0, dim))


def test_derivatives_forward_and_backward_agree(metric, batches):
    (x, along, _), (y, *_) = (batch.double() for batch in batches)
    value, tangent = torch.func.jvp(lambda image: metric(image, y), (x,), (along,))
    torch.testing.assert_close(value, metric(x, y))
    jacobian = torch.func.jacrev(lambda image: metric(image, y))(x)
    expected = (jacobian * along).flatten(1).sum(dim=1)
    torch.testing.assert_close(tangent, expected)
    of_y = torch.func.jvp(lambda image: metric(x, image), (y,), (along,))[1]
    with forward_ad.dual_level():
        both = metric(forward_ad.make_dual(x, along), forward_ad.make_dual(y, along))
        once = metric(forward_ad.make_dual(x, along), y)
        torch.testing.assert_close(forward_ad.unpack_dual(once).tangent, expected)
        torch.testing.assert_close(forward_ad.unpack_dual(both).tangent, expected + of_y)


def test_functional_call_of_a_parent(batches):
    (x, *_), (y, *_) = (batch.float().cpu() for batch in batches)
    model, other = Model(), Model()
    found = torch.func.functional_call(model, dict(other.named_parameters()), (x, y))
    torch.testing.assert_close(found, other(x, y))


# -- moves and copies ------------------------------------------------------------------------------------------------


def values_of(model):
    return [t.clone() for m in model.modules() if isinstance(m, Frozen) for t in m.tensors.values()]


@pytest.mark.parametrize("built_on", ["cpu", "meta"])
@pytest.mark.parametrize("back", ["to_empty", "to"])
def test_values_outlast_the_meta_device(built_on, back, pair):
    expected = LPIPS("lite")(*pair)
    with torch.device(built_on):
        model = Model()
    assert model.loss(*pair).item() == expected.item()
    model.to("meta")
    assert model.loss(*(image.to("meta") for image in pair)).is_meta
    for each in (copy.deepcopy(model), model):
        if back == "to_empty":
            each.to_empty(device="cpu")
        else:
            each.loss.to("cpu")
        assert each.loss(*pair).item() == expected.item()


def test_moving_under_inference_mode_leaves_tensors_to_train_through(pair):
    metric = LPIPS("lite").to("meta")
    with torch.inference_mode():
        metric.to("cpu")
    x = pair[0].requires_grad_()
    metric(x, pair[1]).backward()
    assert torch.isfinite(x.grad).all()


def test_an_average_of_a_model_shares_nothing_and_leaves_the_loss(pair):
    model = Model()
    average = AveragedModel(model, use_buffers=True)
    with torch.no_grad():
        model.layer.weight.add_(1)
    average.update_parameters(model)
    average.update_parameters(model)
    assert all(map(torch.equal, values_of(average), values_of(model)))
    assert average.module.loss(*pair).item() == model.loss(*pair).item()


def replica_of(module):
    """Replicate a module as `nn.parallel.replicate` does for one device."""
    replica = module._replicate_for_data_parallel()
    for name, child in module.named_children():
        replica._modules[name] = replica_of(child)
    return replica


@pytest.mark.parametrize("make", [lambda: LPIPS("lite"), lambda: GramLoss(FeatureTower("lite"))], ids=["LPIPS", "Gram"])
def test_a_replica_follows_its_input_and_the_original_stays(make, pair):
    metric = make().to("meta")
    elsewhere = [image.to("meta") for image in pair]
    metric.to("cpu")
    expected = metric(*pair)
    replica = replica_of(metric)
    for _ in range(2):
        assert replica(*elsewhere).device.type == "meta"
    assert metric(*pair).item() == expected.item()
    assert all(tensor.device.type == "cpu" for tensor in values_of(metric))


def test_replicas_on_the_devices_of_a_fake_machine(no_sync):
    metric = LPIPS("lite", check_range="never")
    with no_sync():
        metric.to("cuda:0")
        for name in ("cuda:0", "cuda:1"):
            x, y = torch.rand(2, 2, 3, 32, 32, device=name)
            replica = replica_of(metric)
            found = replica.distance(replica.encode(x), replica.encode(y)), replica(x, y), replica.distance_map(x, y)
            assert {str(f.device) for f in found} == {name}
        assert str(metric.device) == "cuda:0"
        with pytest.raises(ValueError, match="x is on cuda:1; expected the metric's device cuda:0"):
            metric(x, y)


def test_a_compiled_training_step_is_the_plain_one(pair):
    model = Model()
    twin = copy.deepcopy(model)

    def step(model, x, y):
        return model.loss(model.layer(x).sigmoid(), y)

    torch.compile(step, fullgraph=True, backend="eager")(model, *pair).backward()
    step(twin, *pair).backward()
    torch.testing.assert_close(model.layer.weight.grad, twin.layer.weight.grad, rtol=1e-4, atol=1e-7)


def _sharded(rank, port, folder, world):
    """Train one step with FSDP2: the model with its loss inside, and another loss sharded by itself."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (world,))
    with torch.device("meta"):
        model = Model()
    loss = LPIPS("lite")
    before = values_of(loss)
    for module in (model.loss, model, loss):
        fully_shard(module, mesh=mesh)
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    nn.init.normal_(model.layer.weight, std=0.1)
    nn.init.zeros_(model.layer.bias)
    x, y = torch.rand(2, 2, 3, 32, 32)
    (model(x, y) + loss(model.layer(x).sigmoid().clamp(0, 1), y)).backward()
    gradient = model.layer.weight.grad.full_tensor()
    same = all(map(torch.equal, before, values_of(model.loss))) and all(map(torch.equal, before, values_of(loss)))
    torch.save((gradient, same, [n for n, _ in model.named_parameters()]), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("world", [1, 2])
def test_fsdp_shards_nothing_of_ours(tmp_path, world):
    if not hasattr(torch.distributed.fsdp, "fully_shard"):
        pytest.skip("this torch has no fully_shard")
    if world == 1:
        _sharded(0, free_port(), tmp_path, world)
    else:
        torch.multiprocessing.spawn(_sharded, (free_port(), tmp_path, world), nprocs=world)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for gradient, same, names in found:
        assert same
        assert names == ["layer.weight", "layer.bias"]
        assert torch.isfinite(gradient).all()
        torch.testing.assert_close(gradient, found[0][0])


# -- a device that is not there --------------------------------------------------------------------------------------


class Without(TorchDispatchMode):
    """Refuse tensors of float64 on "cuda", as Apple's GPU does."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.is_cuda:
                assert tensor.dtype != torch.float64, f"{function} makes float64"
        return found


@pytest.fixture
def no_sync(monkeypatch):
    """A fake "cuda" with shapes but no values: reading a value, or using a tensor on the CPU, is an error."""
    if torch.__version__ < (2, 9):
        pytest.skip("torch 2.4 aborts on fake CUDA tensors where there is no GPU")
    monkeypatch.setattr(template, "NO_FLOAT64", ("cuda",))
    for module in (images, strips, changes):
        monkeypatch.setattr(module, "checked_by_functions", set())
    return lambda: FakeTensorMode(allow_non_fake_inputs=True)


class Everything(set):
    """A set in which all shapes, dtypes and peaks have passed."""

    def __contains__(self, _):
        return True


@pytest.mark.parametrize("name", contract.PUBLIC)
def test_nothing_waits_for_the_device_or_needs_float64(name, no_sync, monkeypatch):
    side = 176 if name in ("ms_ssim", "MSSSIMLoss") else 32
    functions = [contract.load(name, new_tower=True, check_range=policy) for policy in ("never", "auto")]
    with no_sync(), Without():
        x, y = torch.rand(2, 2, 3, side, side + 1, device="cuda")
        assert functions[0](x, y).is_cuda
        functions[0](x.requires_grad_(), y)
        with pytest.raises(DataDependentOutputException):  # "auto" looks
            functions[1](x, y)
        for module in (images, strips, changes):
            monkeypatch.setattr(module, "checked_by_functions", Everything())
        assert functions[1](x, y).is_cuda


METHODS = {
    "forward": lambda m, x, y: m(x, y),
    "one gradient": lambda m, x, y: m(x.requires_grad_(), y),
    "layer_distances": lambda m, x, y: m.layer_distances(x, y),
    "distance_map": lambda m, x, y: m.distance_map(x, y),
    "mask": lambda m, x, y: m(x, y, x[:, :1] > 0.5),
    "erode": lambda m, x, y: m(x, y, x[:, :1], erode=True),
    "encodings": lambda m, x, y: m.distance(m.encode(x), m.encode(y)),
    "pairwise": lambda m, x, y: m.pairwise(x, y),
    "preference": lambda m, x, y: m.preference(x, y, x),
    "lpips": lambda m, x, y: lpips(x, y, m),
    "half": lambda m, x, y: m(x.half(), y.half()),
    "tiles": lambda m, x, y: m(x, y),
}


@pytest.mark.parametrize("run", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("policy", ["never", "auto"])
def test_no_method_waits_for_the_device(run, policy, no_sync):
    metric = LPIPS("lite", check_range=policy, max_memory="5MB" if run is METHODS["tiles"] else None)
    metric.slope = metric.slope or 1.0
    with no_sync(), Without():
        metric.to("cuda")
        x, y = torch.rand(2, 2, 3, 128, 128, device="cuda")
        if policy == "auto":
            with pytest.raises(DataDependentOutputException):
                run(metric, x, y)
            metric._checked = Everything()
        assert run(metric, x, y).is_cuda


def test_the_running_mean_does_not_wait_either(no_sync):
    tracked = LPIPSMetric(LPIPS("lite", check_range="never"))
    with no_sync(), Without():
        tracked.to("cuda")
        x, y = torch.rand(2, 2, 3, 32, 32, device="cuda")
        tracked(x, y)
        tracked.update(x, y)
        assert tracked.compute().is_cuda


@pytest.mark.parametrize("policy", ["auto", "always", "never"])
def test_masks_obey_check_range_on_the_cpu(policy, pair):
    metric = LPIPS("lite", check_range=policy)
    mask = torch.full((2, 1, 67, 71), -1.0)
    for _ in range(2):
        if policy == "never":
            metric(*pair, mask)
        else:
            with pytest.raises(ValueError, match="mask has negative"):
                metric(*pair, mask)


def test_frozen_tensors_are_made_on_the_default_device(no_sync, pair):
    tensors = dict(FeatureTower("lite").tensors)
    with no_sync(), torch.device("cuda"):
        assert Frozen(tensors).device.type == "cuda"


def test_a_copy_made_under_inference_mode_can_be_trained_through(pair):
    metric = LPIPS("lite")
    with torch.inference_mode():
        copies = [copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))]
    for copied in copies:
        x = pair[0].clone().requires_grad_()
        copied(x, pair[1]).backward()
        assert torch.isfinite(x.grad).all()
