"""Encodings as a gallery: parts, joining, files, and all pairs in bounded memory."""

import copy
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from lpips_lite import LPIPS, Encoding


@pytest.fixture
def metric():
    return LPIPS("lite", reduction="none")


@pytest.fixture
def gallery(metric):
    return metric.encode(torch.rand(5, 3, 33, 40))


def same(a, b):
    return (a.size, a.signature) == (b.size, b.signature) and all(map(torch.equal, a.features, b.features))


# -- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (1, [1]),
        (-1, [4]),
        (np.int64(3), [3]),
        (torch.tensor(2), [2]),
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, 2), [0, 2, 4]),
        (slice(3, 1), []),
        (torch.tensor([4, 0, 4]), [4, 0, 4]),
        (torch.tensor([-1], dtype=torch.int32), [4]),
        (torch.tensor([], dtype=torch.int64), []),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
    ],
    ids=str,
)
def test_parts_are_encodings(gallery, rows, expected):
    part = gallery[rows]
    assert len(part) == len(expected)
    assert same(part, Encoding(tuple(f[expected] for f in gallery.features), gallery.size, gallery.signature))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (5, IndexError, "no image 5 in an encoding of 5"),
        (-6, IndexError, "no image -6"),
        (torch.tensor([5]), IndexError, "out of bounds"),
        (torch.tensor([True]), IndexError, "mask"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (True, TypeError, "is a bool; expected an int, a slice, or a tensor"),
        (np.True_, TypeError, "is a bool"),
        (torch.tensor(True), TypeError, "is a bool"),
        (1.0, TypeError, "is a float"),
        (None, TypeError, "is a NoneType"),
        ([0, 1], TypeError, "is a list"),
        (np.array([0, 1]), TypeError, "is a ndarray"),
        (torch.tensor([[0]]), TypeError, r"is a tensor \(1, 1\) of torch.int64"),
        (torch.tensor([0], dtype=torch.uint8), TypeError, "of torch.uint8"),
    ],
    ids=str,
)
def test_what_is_no_part_is_an_error(gallery, rows, error, message):
    with pytest.raises(error, match=message):
        gallery[rows]


def test_batches_join_in_order(gallery):
    assert same(Encoding.cat(gallery), gallery)
    assert same(Encoding.cat([gallery[:2], gallery[2:2], gallery[2:]]), gallery)
    assert Encoding.cat([gallery]) is gallery


def test_only_batches_of_one_kind_join(metric, gallery):
    with pytest.raises(ValueError, match="encodings: there are none"):
        Encoding.cat([])
    others = {
        "signature": LPIPS("lite", channel_weights="uniform").encode(torch.rand(1, 3, 33, 40)),
        "size": metric.encode(torch.rand(1, 3, 33, 41)),  # with features as large
        "dtype": gallery.to(torch.float16),
    }
    for name, other in others.items():
        with pytest.raises(ValueError, match=f"encodings differ in {name}: .* and "):
            Encoding.cat([gallery, gallery, other])


def test_copies_and_pickles_are_the_same(gallery):
    assert same(copy.deepcopy(gallery), gallery)
    assert same(pickle.loads(pickle.dumps(gallery)), gallery)
    assert gallery == gallery  # comparing tensors would raise
    assert gallery != copy.deepcopy(gallery)
    assert repr(gallery).startswith("<Encoding of 5 images of 33×40, torch.float32 on cpu, by 'lpips-lite/1.0")


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("part", [slice(None), slice(1, 3), slice(None, None, 2), slice(0, 0)], ids=str)
def test_a_file_gives_back_what_was_saved(metric, gallery, tmp_path, dtype, part):
    saved, path = gallery.to(dtype)[part], tmp_path / "gallery.safetensors"
    saved.save(path)
    found = Encoding.load(str(path))
    assert found.features[0].dtype == dtype
    assert same(found, saved)
    assert path.stat().st_size < 2000 + sum(f.numel() * f.element_size() for f in saved.features)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert torch.equal(metric.pairwise(gallery[:2], found), metric.pairwise(gallery[:2], saved))


def test_a_file_can_be_replaced_by_what_it_gave(metric, gallery, tmp_path):
    metric.encode(torch.rand(5, 3, 33, 40, requires_grad=True)).save(tmp_path / "file")
    whole = Encoding.load(tmp_path / "file")
    assert not whole.features[0].requires_grad
    whole[1:].save(tmp_path / "file")
    assert same(Encoding.load(tmp_path / "file"), whole[1:])


def test_a_loaded_encoding_does_not_mix_either(gallery, tmp_path):
    gallery.save(tmp_path / "file")
    with pytest.raises(ValueError, match=r"encoding made by .*weights=lite-.*expected .*weights=uniform"):
        LPIPS("lite", channel_weights="uniform").pairwise(Encoding.load(tmp_path / "file"))


def test_other_files_are_errors_that_name_them(gallery, tmp_path):
    path, features = tmp_path / "file", {f"features.{i}": torch.rand(2, 3, 3, 8) for i in range(2)}
    known = {"size": "33x40", "signature": "s"}
    with pytest.raises(FileNotFoundError, match=f"encoding: {path} does not exist"):
        Encoding.load(path)
    with pytest.raises(FileNotFoundError, match="is not a file"):
        Encoding.load(tmp_path)
    gallery.save(path)
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"encoding: {path} \({size} bytes\) is not a safetensors file, or is tr"):
            Encoding.load(path)
    other = {"weight": torch.rand(2)}
    gap = {"features.0": features["features.0"], "features.2": features["features.1"]}
    kinds = [(other, None), (other, known), (features, None), (features, {"size": "33x40"}), (gap, known), ({}, known)]
    for tensors, metadata in [*kinds, (features, known | {"size": "33"})]:
        save_file(tensors, path, metadata)
        with pytest.raises(ValueError, match=rf"encoding: {path} has the keys .* and the metadata .*; expected a file"):
            Encoding.load(path)
    for odd in (torch.rand(3, 3, 3, 8), torch.rand(2, 8), torch.ones(2, 3, 3, 8, dtype=torch.int32)):
        save_file(features | {"features.1": odd}, path, known)
        with pytest.raises(ValueError, match=rf"encoding: {path} has .*; expected \(N, H, W, C\)"):
            Encoding.load(path)
    save_file(features | {"features.1": features["features.1"].half()}, path, known)
    with pytest.raises(ValueError, match="one N, one float dtype"):
        Encoding.load(path)


# -- every pair ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_memory", [None, "1MB", 1])
@pytest.mark.parametrize("counts", [(1, 70), (70, 1), (3, 60), (2, 2)], ids=str)
def test_chunks_change_nothing(counts, max_memory):
    metric, whole = LPIPS("lite", max_memory=max_memory), LPIPS("lite", reduction="none")
    x, y = (torch.rand(count, 3, 33, 40) for count in counts)
    table = metric.pairwise(x, y)
    assert table.shape == counts
    for row, image in zip(table, x, strict=True):
        torch.testing.assert_close(row, whole(image.expand(len(y), -1, -1, -1), y), rtol=1e-5, atol=0)
    torch.testing.assert_close(metric.pairwise(metric.encode(x), metric.encode(y)), table, rtol=1e-5, atol=0)
    assert metric.pairwise(x).diagonal().eq(0).all()


@pytest.mark.parametrize("max_memory", [None, 1])
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)], ids=str)
def test_gradients_of_all_pairs(wanted, max_memory):
    metric, whole = LPIPS("lite", max_memory=max_memory), LPIPS("lite", reduction="none")
    x, y = (torch.rand(n, 3, 20, 20, dtype=torch.float64, requires_grad=w) for n, w in zip((2, 3), wanted, strict=True))
    inputs, factors = [t for t in (x, y) if t.requires_grad], torch.rand(2, 3)
    pairs = torch.stack([whole(row.expand(3, -1, -1, -1), y) for row in x])
    expected = torch.autograd.grad((factors * pairs).sum(), inputs)
    found = torch.autograd.grad((factors * metric.pairwise(x, y)).sum(), inputs, create_graph=True)
    torch.testing.assert_close(found, expected)
    twice = torch.autograd.grad(sum(g.square().sum() for g in found), inputs)
    assert all(t.abs().max() > 0 and t.isfinite().all() for t in twice)


@pytest.mark.parametrize("dtypes", [("float16", "float32"), ("float32", "float16"), ("float64", "float16")], ids=str)
@pytest.mark.parametrize("autocast", [False, True])
def test_all_pairs_in_the_wider_dtype(metric, gallery, dtypes, autocast):
    x, y = (gallery.to(getattr(torch, dtype)) for dtype in dtypes)
    wide = torch.promote_types(torch.promote_types(x.features[0].dtype, y.features[0].dtype), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        found = metric.pairwise(x, y)
    assert found.dtype == wide
    torch.testing.assert_close(found, metric.pairwise(x.to(wide), y.to(wide)))


class LargestArray(TorchDispatchMode):
    """Records the size of the largest new array in bytes."""

    def __init__(self, known):
        super().__init__()
        self.known, self.bytes = {f.untyped_storage().data_ptr() for f in known}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_no_array_is_larger_than_the_memory(gradients, turned):
    metric = LPIPS("lite", reduction="none", max_memory="1MB")
    many = metric.encode(torch.rand(200, 3, 64, 64)).to(torch.float16)
    query = Encoding(tuple(f[:1].float().requires_grad_(gradients) for f in many.features), many.size, many.signature)
    with LargestArray(many.features) as seen:
        table = metric.pairwise(many, query) if turned else metric.distance(query, many)
        if gradients:
            table.sum().backward()
    assert 0 < seen.bytes <= 10**6


def test_encodings_elsewhere_come_to_the_device_of_the_metric(gallery):
    elsewhere = LPIPS("lite", reduction="none").to("meta")
    for table in (elsewhere.pairwise(gallery[:2], gallery.to(torch.float16)), elsewhere.pairwise(gallery)):
        assert table.device.type == "meta"
    assert elsewhere.distance(gallery[0], gallery).shape == (5,)


def test_no_images_give_an_empty_table(metric, gallery):
    none = gallery[:0]
    assert [metric.pairwise(*pair).shape for pair in ((none, gallery), (gallery, none), (none,))] == [
        (0, 5),
        (5, 0),
        (0, 0),
    ]
    assert metric.distance(none, none).shape == metric.distance(none, gallery[0]).shape == (0,)


def test_encode_takes_some_images_at_a_time():
    seen, metric = [], LPIPS("lite", max_memory="1MB")
    metric.tower.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    x = torch.randint(0, 256, (20, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(metric.encode(x).features, LPIPS("lite").encode(x).features)
    assert max(seen) < 5
    assert sum(seen) == 20


def test_the_second_argument_is_called_y(metric):
    with pytest.raises(ValueError, match="y has values from"):
        metric.pairwise(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32) * 255)


def test_what_is_no_encoding_is_an_error_that_says_so(metric, gallery, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*typo"):
        gallery.save(tmp_path / "typo/gallery.safetensors")
    for call in (lambda: metric.distance(torch.rand(1, 3, 33, 40), gallery), lambda: Encoding.cat([gallery, 3])):
        with pytest.raises(TypeError, match="expected an Encoding, as LPIPS.encode returns it; got a"):
            call()
    for dtype in (torch.uint8, torch.complex64, torch.float8_e4m3fn):
        with pytest.raises(TypeError, match=r"dtype torch\..*: expected one of torch.float64"):
            gallery.to(dtype)
    half, double = gallery[:2].to(torch.float16), gallery[:2].to(torch.float64)
    assert metric.distance(half, double).dtype == metric.distance(double, half).dtype == torch.float64
