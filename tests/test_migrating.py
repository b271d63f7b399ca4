"""The table "What still differs" in docs/migrating.md: a test of both packages checks each row."""

import copy
import re
import warnings
from functools import cache

import lpips as published
import numpy as np
import pytest
import torch
from PIL import Image

import lpips_lite
from lpips_lite import compat
from lpips_lite.compat import LPIPS
from lpips_lite.files.reading import ImageWarning
from tests.conftest import ROOT
from tests.peers import random_tower, upstream

PAGE = (ROOT / "docs/migrating.md").read_text()
ROWS = re.findall(r"^\| (.*?) \|", PAGE.split("## What still differs")[1], re.MULTILINE)[1:]
HELD = set()  # first cells of rows


def holds(row):
    """Mark a test as the one that checks a row."""

    def mark(test):
        HELD.add(row)
        return test

    return mark


@cache
def towers():
    """Return our loss and the published one with the same random tower."""
    tower = random_tower("alex")
    return LPIPS(tower_weights=tower), upstream("alex", tower)


def load_published(**arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision's and torch.load's old interfaces
        return published.LPIPS(**{"pnet_rand": True, "verbose": False, **arguments})


def uniform(*shape, low=-1, high=1):
    return torch.rand(*(shape or (2, 3, 33, 35))) * (high - low) + low


@pytest.fixture
def ours():
    return copy.deepcopy(towers()[0])


@pytest.fixture
def theirs():
    return copy.deepcopy(towers()[1])


def test_every_row_is_held():
    assert len(ROWS) == len(HELD)
    assert set(ROWS) == HELD


@holds("parameters and checkpoints")
def test_state(ours, theirs):
    assert any(parameter.requires_grad for parameter in theirs.lins.parameters())
    assert theirs.state_dict()
    assert not [*ours.parameters(), *ours.state_dict()]
    ours.load_state_dict(theirs.state_dict())
    with pytest.warns(UserWarning, match="which stay"):
        ours.load_state_dict({key: 3 * tensor for key, tensor in theirs.state_dict().items()})


@holds("`.train()` on a model that holds the loss")
def test_train(ours, theirs):
    x, y = uniform(), uniform()
    assert not torch.equal(theirs.train()(x, y), theirs(x, y))
    assert torch.equal(ours.train()(x, y), ours.eval()(x, y))


@holds("`pnet_tune=True`; `pretrained=False` with `lpips=True`")
def test_tune(theirs):
    assert all(parameter.requires_grad for parameter in load_published(pnet_tune=True).net.parameters())
    assert not torch.equal(load_published(pretrained=False).lin0.model[-1].weight, theirs.lin0.model[-1].weight)
    for arguments in ({"pnet_tune": True}, {"pretrained": False}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
            LPIPS(**arguments)


@holds("`pnet_rand=True`")
def test_pnet_rand():
    first, second = (load_published().net.slice1[0].weight for _ in range(2))
    assert not torch.equal(first, second)
    assert LPIPS(pnet_rand=True).metric.signature == LPIPS(pnet_rand=True).metric.signature


@holds('`version="0.0"` with `lpips=False` or with another version\'s `model_path`')
def test_version_of_other_weights(theirs, tmp_path):
    torch.save(
        {f"lin{k}.model.1.weight": lin.model[-1].weight for k, lin in enumerate(theirs.lins)}, tmp_path / "w.pth"
    )
    for arguments in ({"lpips": False}, {"model_path": str(tmp_path / "w.pth")}):
        load_published(version="0.0", **arguments)
        LPIPS(pnet_rand=True, **arguments)
        with pytest.raises(ValueError, match="version='0.0': expected the version whose channel weights are used"):
            LPIPS(version="0.0", pnet_rand=True, **arguments)


@holds("`model_path`")
def test_model_path(theirs, tmp_path):
    torch.save({"lin0.model.1.weight": theirs.lin0.model[-1].weight}, tmp_path / "some.pth")
    found = load_published(model_path=str(tmp_path / "some.pth"))
    assert torch.equal(found.lin0.model[-1].weight, theirs.lin0.model[-1].weight)
    assert not torch.equal(found.lin1.model[-1].weight, theirs.lin1.model[-1].weight)
    with pytest.raises(ValueError, match="missing"):
        LPIPS(pnet_rand=True, model_path=tmp_path / "some.pth")


@holds("`verbose=True`")
def test_verbose(capsys):
    load_published(verbose=True)
    assert capsys.readouterr().out
    LPIPS(net="lite", verbose=True)
    assert not capsys.readouterr().out


@holds("uint8 and other integers")
def test_integers(ours, theirs):
    for dtype in (torch.uint8, torch.int64):
        x, y = uniform(high=255, low=0).to(dtype), uniform()
        assert torch.equal(theirs(x, y), theirs(x.float(), y))
        with pytest.raises(TypeError, match=r"in0 has dtype .*: for bytes use in0 / 127.5 - 1, or lpips_lite.LPIPS"):
            ours(x, y)
    x = x.byte()
    wrapped = torch.where(x == 0, 255, 2 * x.long() - 1) % 256
    assert torch.equal(theirs(x, y, normalize=True), theirs(wrapped.float(), 2 * y - 1))


@holds("floats in 0…255")
def test_bytes_as_floats(ours, theirs):
    assert torch.isfinite(theirs(uniform(low=0, high=255), uniform())).all()
    with pytest.raises(ValueError, match=r"look like 0…255; use in0 / 127.5 - 1"):
        ours(uniform(low=0, high=8.5), uniform())
    with pytest.warns(UserWarning, match="overshoot 0…255"):
        ours(uniform(low=-20, high=270), uniform())
    ours(uniform(low=-20, high=270), uniform())


@holds("[0, 1] without `normalize=True`, or [-1, 1] with it")
def test_other_range(ours, theirs):
    for low, normalize in ((0, False), (-1, True)):
        x, y = uniform(low=low), uniform(low=0)
        expected = theirs(x, y, normalize=normalize)
        ours._warned = False
        with pytest.warns(UserWarning, match=r"are they in \["):
            found = ours(x, y, normalize=normalize)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        ours(x, y, normalize=normalize)


@holds("NaN and infinities")
def test_nan(ours, theirs):
    x, y = uniform(1, 3, 66, 66), uniform(1, 3, 66, 66)
    for bad in (torch.nan, torch.inf, -torch.inf):
        seen, unseen = x.clone(), x.clone()
        seen[..., 5, 7] = bad
        unseen[..., 65, 65] = bad
        assert theirs(seen, y).isnan()
        assert torch.isfinite(theirs(unseen, y))
        for image in (seen, unseen):
            with pytest.raises(ValueError, match="in0 has NaN or infinite values"):
                ours(image, y)
        assert LPIPS(pnet_rand=True, check_range="never")(seen, y).isnan()


@holds("images of two sizes")
def test_two_sizes(ours, theirs):
    x, y = uniform(1, 3, 64, 64), uniform(1, 3, 65, 65)
    assert torch.isfinite(theirs(x, y))
    with pytest.raises(ValueError, match=r"in1 has shape \(1, 3, 65, 65\); expected in0's"):
        ours(x, y)


@holds("an empty batch")
def test_empty(ours, theirs):
    assert theirs(uniform()[:0], uniform()[:0]).shape == (0, 1, 1, 1)
    with pytest.raises(ValueError, match="in0 .* expected at least one image"):
        ours(uniform()[:0], uniform()[:0])


@holds("half precision")
def test_half(ours, theirs):
    x, y = uniform(), uniform()
    exact = ours(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert theirs(x, y).dtype == torch.bfloat16
        assert ours(x, y).dtype == torch.float32
        assert not torch.equal(ours(x, y), exact)
    x, y = x.bfloat16(), y.bfloat16()
    assert copy.deepcopy(theirs).bfloat16()(x, y).dtype == torch.bfloat16
    assert torch.equal(ours.bfloat16()(x, y), ours(x.float(), y.float()))


@holds("float64")
def test_float64(ours, theirs):
    x, y = uniform().double(), uniform().double()
    with pytest.raises(RuntimeError):
        theirs(x, y)
    torch.testing.assert_close(ours(x, y), theirs.double()(x, y), rtol=1e-6, atol=0)


@holds('`spatial=True` without a batch; one channel with `version="0.0"`')
def test_refused_calls(ours, theirs):
    ours.spatial = theirs.spatial = True
    x = uniform(3, 33, 35)
    with pytest.raises(ValueError, match="spatial dimensions"):
        theirs(x, -x)
    assert ours(x, -x).shape == (1, 1, 33, 35)
    gray = uniform(2, 1, 33, 35)
    with pytest.raises(RuntimeError):
        load_published(version="0.0")(gray, -gray)
    loss = LPIPS(version="0.0", pnet_rand=True)
    assert torch.equal(loss(gray, -gray), loss(gray.expand(-1, 3, -1, -1), -gray.expand(-1, 3, -1, -1)))


@holds("`loss.net`, `loss.lins`, `loss.scaling_layer`")
def test_parts(ours, theirs):
    x, y = uniform(), uniform()
    for loss, changes in ((ours, False), (theirs, True)):
        before = loss(x, y)
        with torch.no_grad():
            loss.lins[0].model[-1].weight.mul_(2)
            loss.scaling_layer.scale.mul_(2)
        assert torch.equal(loss(x, y), before) is not changes
        assert hasattr(loss.net, "slice1") is hasattr(loss, "lin0") is changes


@holds("gradient of `normalize_tensor` where all features are zero")
def test_zero_features():
    for module, finite in ((compat, True), (published, False)):
        features = torch.zeros(1, 2, 1, 1, requires_grad=True)
        module.normalize_tensor(features).sum().backward()
        assert torch.isfinite(features.grad).all() == finite


@holds("`tensor2im` beyond [-1, 1]")
def test_tensor2im():
    beyond = torch.tensor([1.5, -1.5]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert compat.tensor2im(beyond)[0, :, 0].tolist() == [255, 0]
    assert published.tensor2im(beyond.abs())[0, 0, 0] < 255


@holds("`load_image`")
def test_load_image(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    with pytest.warns(ImageWarning, match="composited on white"):
        assert np.array_equal(compat.load_image(tmp_path / "clear.png"), np.full((4, 4, 3), 255))
    with pytest.raises(FileNotFoundError):
        compat.load_image(tmp_path / "absent.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "black.webp")
    assert compat.load_image(tmp_path / "black.webp").shape == (4, 4, 3)
    with pytest.raises(NameError):
        published.load_image(str(tmp_path / "black.webp"))


@holds("`l2`, `psnr`, `dssim`, `L2`, `DSSIM`, `rgb2lab`, `tensor2np`, `np2tensor`, `Trainer`")
def test_left_out():
    line = next(line for line in PAGE.splitlines() if line.startswith("| `l2`"))
    names, _, instead = re.findall(r"\| ([^|]*)", line)
    for name in re.findall(r"`(\w+)`", names):
        assert hasattr(published, name)
        assert not hasattr(compat, name)
    for name in re.findall(r"has `(\w+)` and `(\w+)`.* and `(\w+)`", instead)[0]:
        assert callable(getattr(lpips_lite, name))
