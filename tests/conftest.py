"""Fixtures: an empty cache, a fixed seed, photographs, and test material; tests are skipped if it is absent."""

import io
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from lpips_lite import read_image
from tests.peers import two_headed_file

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where test_contract.py and test_states.py compute")
    parser.addoption("--dtype", default="float32", choices=("float32", "float64"), help="in which dtype they do")
    parser.addoption("--slow", action="store_true", help="run what takes long, too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="takes long: --slow"))


@pytest.fixture(scope="session")
def device(request):
    """The device of `--device`."""
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def dtype(request):
    """The dtype of `--dtype`."""
    return getattr(torch, request.config.getoption("--dtype"))


def free_port():
    """Return a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder with the wheel and the sdist, built once."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory, monkeypatch):
    """Give each test an empty cache and the same random numbers."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LPIPS_LITE_HOME", str(cache / "home"))
    monkeypatch.setenv("TORCH_HOME", str(cache / "torch"))
    torch.manual_seed(0)


@pytest.fixture
def home():
    """The cache folder of this test, not yet made."""
    return Path(os.environ["LPIPS_LITE_HOME"])


@pytest.fixture(scope="session")
def shared():
    """The folder with published towers and images, which a user's clone does not have."""
    folder = Path(os.environ.get("LPIPS_LITE_SHARED", ROOT.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip("the published test material is not on this machine")
    return folder


@pytest.fixture(scope="session")
def photos():
    """16 crops of the example scene, (16, 3, 112, 112) uint8."""
    scene = read_image(ROOT / "examples/images/scene.png")
    crops = [scene[:, top : top + 112, left : left + 112] for top in range(0, 192, 48) for left in range(0, 192, 48)]
    return (torch.stack([crop for crop in crops if crop.shape[1:] == (112, 112)]) * 255).round().byte()


@pytest.fixture(scope="session")
def photos_tar(photos, tmp_path_factory):
    """The crops in a tar file."""
    path = tmp_path_factory.mktemp("photos") / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for number, pixels in enumerate(photos):
            buffer = io.BytesIO()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG")
            member = tarfile.TarInfo(f"{number:02}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(member, buffer)
    return path


@pytest.fixture
def two_heads(tmp_path):
    """A file of a random lite tower whose channel weights have two heads."""
    return two_headed_file(tmp_path / "two_heads.safetensors")


@pytest.fixture
def pair():
    """Two random images with odd sides, (2, 3, 67, 71)."""
    return torch.rand(2, 3, 67, 71), torch.rand(2, 3, 67, 71)
