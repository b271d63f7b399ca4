"""The manifest of weight files: which files exist, their source, where to find them on this machine, how to fetch them.

Used by `weights.py`, which verifies and reads the files. A folder that cannot be written matters only if something must
be downloaded.

Look-up order for "alex", "vgg", "vgg19", "squeeze": `$LPIPS_LITE_HOME` (default: `lpips_lite` in torch's hub folder) →
torch's hub cache, where torchvision leaves its checkpoints → download. Channel weights are also found in an installed
`lpips` package. "lite" is embedded in the package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from importlib import resources
from pathlib import Path

import torch
from filelock import FileLock


@dataclass(frozen=True)
class WeightFile:
    """One entry of the manifest.

    Attributes:
        name: Description for messages.
        file: File name on disk.
        sha256: Hash of the file; for torchvision's VGG and SqueezeNet only the first eight digits, which they publish.
        megabytes: Size of the download, in 10⁶ bytes.
        source: Address of the download.
        licence: Licence of the weights.
        content: Hash of the tensors, `tensor_files.content_sha256`; "" if no file was at hand to compute it.
    """

    name: str
    file: str
    sha256: str
    megabytes: float
    source: str
    licence: str
    content: str = ""


EMBEDDED = WeightFile(
    "lite tower and channel weights",
    "lite.safetensors",
    "87cacb10b7adc4abce11c2c85c47a4df027e6f05344063f55352f70ae7d4f5ff",
    1.6,
    "embedded",
    "BSD-2-Clause",
    content="60ccb2b954333ca847b3f83e555bb395c180947a345410204e9da0390f7680c2",
)

_IMAGENET = (
    "trained on ImageNet, whose terms ask for non-commercial research use; file published by torchvision (BSD-3)"
)
_TORCHVISION = "https://download.pytorch.org/models"
TOWER_FILES: Mapping[str, WeightFile] = {
    "alex": WeightFile(
        "AlexNet tower",
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244.4,
        f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
        _IMAGENET,
        content="b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7",
    ),
    "vgg": WeightFile(
        "VGG-16 tower", "vgg16-397923af.pth", "397923af", 553.4, f"{_TORCHVISION}/vgg16-397923af.pth", _IMAGENET
    ),
    "vgg19": WeightFile(
        "VGG-19 tower", "vgg19-dcbb9e9d.pth", "dcbb9e9d", 574.7, f"{_TORCHVISION}/vgg19-dcbb9e9d.pth", _IMAGENET
    ),
    "squeeze": WeightFile(
        "SqueezeNet 1.1 tower",
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc0",
        5.0,
        f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
        _IMAGENET,
        content="f837b33e14c2b355b28d21c43ab05d411c1e65aee36259572d50b2a2be8f08ef",
    ),
}

_UPSTREAM = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
    "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights"
)
_PUBLISHED = {  # (net, version): sha256, megabytes, content
    ("alex", "v0.1"): (
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        0.006,
        "43a4a228282ec3b71b58b89e90dc9141477c63434fd8142195d35d3f7b5336a3",
    ),
    ("vgg", "v0.1"): (
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        0.007,
        "e5bc744bc26ad5945c82d105267f1bce24ddf5ff19ba3eacc3e2aaa6258ddb21",
    ),
    ("squeeze", "v0.1"): (
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        0.011,
        "2e6098ea3f693fa2a94dfe9d9827f350dbbc14c37a5f259bcb074d7c5956cc88",
    ),
    ("alex", "v0.0"): (
        "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5",
        0.005,
        "25eb1097b68bc0c84d9074e780c60fe25272e981bb764154a6db084fed1225c9",
    ),
    ("vgg", "v0.0"): (
        "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
        0.007,
        "57a09eac0b5d978c0e5741f928a53564f11425591dd8434144e32b5cb22fc6b0",
    ),
    ("squeeze", "v0.0"): (
        "c27abd3a0145541baa50990817df58d3759c3f8154949f42af3b59b4e042d0bf",
        0.010,
        "0e8fd4298bdd2fe7350dd6da6ba2e186e6fc31937b25ea4ae0487fd850e7177a",
    ),
}
CHANNEL_FILES: Mapping[tuple[str, str], WeightFile] = {
    (net, version): WeightFile(
        f"{net} channel weights {version}",
        f"lpips-{version}-{net}.pth",
        sha256,
        megabytes,
        f"{_UPSTREAM}/{version}/{net}.pth",
        "BSD-2-Clause, Zhang et al. 2018",
        content,
    )
    for (net, version), (sha256, megabytes, content) in _PUBLISHED.items()
}


def tower_entry(net: str) -> WeightFile:
    """Return the entry of a tower, including the embedded one."""
    return EMBEDDED if net == "lite" else TOWER_FILES[net]


# -- places ----------------------------------------------------------------------------------------------------------


def home() -> Path:
    """Return the folder for weight files: `$LPIPS_LITE_HOME`, else `lpips_lite` in torch's hub folder."""
    folder = Path(os.environ.get("LPIPS_LITE_HOME") or Path(torch.hub.get_dir()) / "lpips_lite")
    with suppress(RuntimeError):  # a user without a home folder
        return folder.expanduser()
    return folder


def embedded_file() -> Path:
    """Return the path of the lite tower and its channel weights inside the package; unverified."""
    return Path(str(resources.files("lpips_lite") / "data" / EMBEDDED.file))


def tower_cache_file(net: str) -> Path:
    """Return the path where a tower's convolutions are kept after its checkpoint was first read."""
    return home() / f"{net}-{TOWER_FILES[net].sha256[:8]}-features.safetensors"


def find_checkpoint(net: str) -> Path | None:
    """Return torchvision's checkpoint of a tower if one is on disk, unverified."""
    return _first(folder / TOWER_FILES[net].file for folder in (home(), Path(torch.hub.get_dir()) / "checkpoints"))


def find_tower(net: str) -> Path | None:
    """Return the file to load a tower from, kept convolutions or a checkpoint, if one is on disk; unverified."""
    return _first([tower_cache_file(net)]) or find_checkpoint(net)


def find_channel_file(entry: WeightFile) -> Path | None:
    """Return the path of published channel weights, in the cache or in an installed `lpips`; unverified."""
    version, net = entry.file.removeprefix("lpips-").removesuffix(".pth").split("-")
    package = importlib.util.find_spec("lpips")
    folders = (package.submodule_search_locations if package else None) or ()
    return _first([home() / entry.file, *(Path(folder) / "weights" / version / f"{net}.pth" for folder in folders)])


def is_here(path: Path) -> bool:
    """Return whether a path is a file; False also if its folder may not be read."""
    try:
        return path.is_file()
    except OSError:
        return False


def _first(candidates: Iterable[Path]) -> Path | None:
    return next(filter(is_here, candidates), None)


# -- fetching --------------------------------------------------------------------------------------------------------


def make_home() -> None:
    """Make the folder for weight files, or raise an OSError."""
    if str(home()).startswith("~"):  # nobody wants a folder with that name
        raise OSError("this user has no home folder")
    home().mkdir(parents=True, exist_ok=True)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process makes `path`. If no lock is possible, as in a read-only folder, go on without one."""
    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):
            make_home()
            held.enter_context(FileLock(path.with_suffix(".lock")))
        yield


def download(entry: WeightFile, net: str, argument: str) -> Path:
    """Download to a temporary file in `home()`, verify and rename it (with torch.hub), or say what else to do."""
    path = home() / entry.file
    try:
        make_home()
        torch.hub.download_url_to_file(entry.source, str(path), entry.sha256, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, HTTPException) as error:
        raise FileNotFoundError(
            f"net={net!r} needs the {entry.name}, {entry.file} ({entry.megabytes:g} MB, sha256 {entry.sha256}), not on "
            f"this machine; {entry.source} could not be downloaded into {home()} ({error}). Put the file there, or set "
            f"LPIPS_LITE_HOME to a folder that has it or is writable, or pass {argument}=PATH, or run "
            f'`compare-images weights fetch {net}` where there is a network. net="lite" needs no download.'
        ) from error
    return path
