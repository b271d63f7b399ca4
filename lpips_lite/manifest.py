"""The manifest of weight files: what exists, where it comes from, where it may lie on this machine, how to fetch it.

Used by `weights.py`, which verifies and reads what is found here.

Look-up order for "alex", "vgg", "vgg19", "squeeze": `$LPIPS_LITE_HOME` (default: `lpips_lite` in torch's hub folder) →
torch's hub cache, where torchvision leaves its checkpoints → download. Channel weights are also found in an installed
`lpips` package. "lite" is embedded in the package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class WeightFile:
    """One entry of the manifest.

    Attributes:
        name: What it is, for messages.
        file: Its name on disk.
        sha256: Of the file; for torchvision's VGG and SqueezeNet the first eight digits, which is all they publish.
        megabytes: Size of the download, in 10⁶ bytes.
        source: Address.
        licence: Of the numbers in it.
    """

    name: str
    file: str
    sha256: str
    megabytes: float
    source: str
    licence: str


EMBEDDED = WeightFile(
    "lite tower and channel weights",
    "lite.safetensors",
    "28c090d0b8a6da34c8a78bb965787157a88b05465121db9283729bc0dc28c0b9",
    1.1,
    "embedded",
    "BSD-2-Clause",
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
    ),
}

_UPSTREAM = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
    "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights"
)
_PUBLISHED = {  # (net, version): sha256, megabytes
    ("alex", "v0.1"): ("df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0", 0.006),
    ("vgg", "v0.1"): ("a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868", 0.007),
    ("squeeze", "v0.1"): ("4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76", 0.011),
    ("alex", "v0.0"): ("18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5", 0.005),
    ("vgg", "v0.0"): ("b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c", 0.007),
    ("squeeze", "v0.0"): ("c27abd3a0145541baa50990817df58d3759c3f8154949f42af3b59b4e042d0bf", 0.010),
}
CHANNEL_FILES: Mapping[tuple[str, str], WeightFile] = {
    (net, version): WeightFile(
        f"{net} channel weights {version}",
        f"lpips-{version}-{net}.pth",
        sha256,
        megabytes,
        f"{_UPSTREAM}/{version}/{net}.pth",
        "BSD-2-Clause, Zhang et al. 2018",
    )
    for (net, version), (sha256, megabytes) in _PUBLISHED.items()
}


# -- places ----------------------------------------------------------------------------------------------------------


def home() -> Path:
    """Return the folder for this package's files: `$LPIPS_LITE_HOME`, else `lpips_lite` in torch's hub folder."""
    return Path(os.environ.get("LPIPS_LITE_HOME") or Path(torch.hub.get_dir()) / "lpips_lite").expanduser()


def tower_cache_file(net: str) -> Path:
    """Return where a tower's convolutions are kept after its checkpoint was first read."""
    return home() / f"{net}-{TOWER_FILES[net].sha256[:8]}-features.safetensors"


def find_checkpoint(net: str) -> Path | None:
    """Return torchvision's checkpoint of a tower if one is on disk, unverified."""
    candidates = (home(), Path(torch.hub.get_dir()) / "checkpoints")
    return next((path for f in candidates if (path := f / TOWER_FILES[net].file).exists()), None)


def find_channel_file(entry: WeightFile) -> Path | None:
    """Return where published channel weights lie: in the cache or in an installed `lpips`; unverified."""
    version, net = entry.file.removeprefix("lpips-").removesuffix(".pth").split("-")
    package = importlib.util.find_spec("lpips")
    folders = (package.submodule_search_locations if package else None) or ()
    candidates = (home() / entry.file, *(Path(folder) / "weights" / version / f"{net}.pth" for folder in folders))
    return next((path for path in candidates if path.exists()), None)


def download(entry: WeightFile, folder: Path, net: str, argument: str) -> Path:
    """Download to a temporary file, verify, rename (all in torch.hub), or say how to do without."""
    path = folder / entry.file
    try:
        torch.hub.download_url_to_file(entry.source, str(path), entry.sha256, progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"net={net!r} needs the {entry.name}, {entry.file} ({entry.megabytes:g} MB, sha256 {entry.sha256}), not on "
            f"this machine; {entry.source} could not be downloaded ({error}). Put the file into {home()}, or pass "
            f"{argument}=PATH, or run `compare-images weights fetch {net}` where there is a network. "
            f'net="lite" needs no download.'
        ) from error
    return path
