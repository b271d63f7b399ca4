"""Weight files: the manifest of what exists, where it is looked for, and one strict, verified way to load it.

Used by `towers.py` (tower weights) and `metric.py` (channel weights). Everything that is loaded was checked for its
hash where one is known, and always for names, shapes, finite values and, for channel weights, signs.

Look-up order for "alex", "vgg", "vgg19", "squeeze": the path given → `$LPIPS_LITE_HOME` (default: `lpips_lite` inside
torch's hub folder) → torch's hub cache, where torchvision leaves its checkpoints → download. The convolutions of a
checkpoint are then kept as a small file of their own. "lite" is embedded in the package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from filelock import FileLock
from torch import Tensor

Tensors = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class WeightFile:
    """One entry of the manifest.

    Attributes:
        name: What it is, for messages.
        file: Its name on disk.
        sha256: Of the file; for torchvision's VGG and SqueezeNet the first eight digits, which is all they publish.
        megabytes: Size of the download, in 10⁶ bytes.
        source: Address, or `torchvision:ENUM` where torchvision's weight enum knows the address.
        licence: Of the numbers in it.
    """

    name: str
    file: str
    sha256: str
    megabytes: float
    source: str
    licence: str

    @property
    def url(self) -> str:
        """The address; torchvision is imported here and nowhere else."""
        prefix, _, enum = self.source.partition("torchvision:")
        if prefix or not enum:
            return self.source
        from torchvision.models import get_weight

        return str(get_weight(enum).url)


EMBEDDED = WeightFile(
    "lite tower and channel weights",
    "lite.safetensors",
    "136877dbb2cd7a91a44d400ca5346a891a96e56925ce5195d941e58da840d3e6",
    1.1,
    "embedded",
    "BSD-2-Clause",
)

_IMAGENET = (
    "trained on ImageNet, whose terms ask for non-commercial research use; file published by torchvision (BSD-3)"
)
TOWER_FILES: Mapping[str, WeightFile] = {
    "alex": WeightFile(
        "AlexNet tower",
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244.4,
        "torchvision:AlexNet_Weights.IMAGENET1K_V1",
        _IMAGENET,
    ),
    "vgg": WeightFile(
        "VGG-16 tower", "vgg16-397923af.pth", "397923af", 553.4, "torchvision:VGG16_Weights.IMAGENET1K_V1", _IMAGENET
    ),
    "vgg19": WeightFile(
        "VGG-19 tower", "vgg19-dcbb9e9d.pth", "dcbb9e9d", 574.7, "torchvision:VGG19_Weights.IMAGENET1K_V1", _IMAGENET
    ),
    "squeeze": WeightFile(
        "SqueezeNet 1.1 tower",
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc0",
        5.0,
        "torchvision:SqueezeNet1_1_Weights.IMAGENET1K_V1",
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


# -- what callers ask for --------------------------------------------------------------------------------------------


def load_tower(net: str, source: str | os.PathLike[str] | None, shapes: Shapes) -> Tensors:
    """Load a tower's convolutions.

    Args:
        net: The tower's name.
        source: `None` (embedded for "lite"; else cache, then download) · "random:SEED" (for tests) · a path to a
            torchvision checkpoint or to a conv-only file with the same `features.N…` keys, `.pth` or `.safetensors`.
        shapes: The shape of every weight the tower has.

    Returns:
        Tensors by key, float32, exactly those of `shapes`.

    Raises:
        ValueError: If the file is unreadable, has another hash than its name or manifest entry says, or lacks a key,
            has one too many, a wrong shape, or a value that is not finite.
        FileNotFoundError: If the path does not exist, or there is neither a cached file nor a way to download one.
    """
    if source is None:
        return read_tower(embedded_file(), shapes) if net == "lite" else _load_cached_tower(net, shapes)
    if isinstance(source, str) and re.fullmatch(r"random:\d+", source):
        return _random_tower(int(source.partition(":")[2]), shapes)
    path = Path(source)
    named_hash = re.search(r"-([0-9a-f]{8})\.pth$", path.name)  # torchvision's convention
    if named_hash:
        _verify(path, named_hash[1])
    return read_tower(path, shapes)


def load_channel_weights(
    net: str, source: str | os.PathLike[str], channels: Sequence[int]
) -> tuple[str, tuple[Tensor, ...]]:
    """Load the non-negative weight of each channel of each layer.

    Args:
        net: The tower's name.
        source: "calibrated" (lite: its own; others: "v0.1") · "v0.1" · "v0.0" · "uniform" · a path.
        channels: Number of channels of each layer.

    Returns:
        A label for signatures ("v0.1", "uniform", a file's stem, …), and L tensors (C_l,), float32. A published file is
        recognised, so that its path and its version are one metric.

    Raises:
        ValueError: As `load_tower`; also if a weight is negative, or nothing is published for this net and version.
        FileNotFoundError: As `load_tower`.
    """
    if source == "uniform":
        return "uniform", tuple(torch.ones(count) for count in channels)
    if source == "calibrated" and net == "lite":
        path = embedded_file()
        return f"lite-{read_metadata(path)['version']}", _read_channel_weights(path, channels)
    version = "v0.1" if source == "calibrated" else str(source)
    if (net, version) in CHANNEL_FILES:
        return version, _read_channel_weights(_cached_channel_file(CHANNEL_FILES[net, version]), channels)
    if re.fullmatch(r"v\d+\.\d+|calibrated", str(source)):
        known = ", ".join(sorted(v for n, v in CHANNEL_FILES if n == net)) or "none"
        raise ValueError(
            f"channel_weights={source!r}: not published for net={net!r} (published: {known}); 'uniform' or a path works"
        )
    path = Path(source)
    weights = _read_channel_weights(path, channels)
    digest = _sha256(path)
    published = [v for (n, v), entry in CHANNEL_FILES.items() if n == net and entry.sha256 == digest]
    return published[0] if published else path.stem, weights


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, shapes and float32 values: eight hex digits that do not depend on the file they came in."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:8]


def check_tensors(tensors: Mapping[str, Tensor], shapes: Shapes, what: str) -> None:
    """Raise a ValueError unless `tensors` has exactly the keys and shapes of `shapes`, all values finite."""
    missing, extra = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    if missing or extra:
        raise ValueError(f"{what}: missing keys {missing or 'none'}, unexpected keys {extra or 'none'}")
    for key, shape in shapes.items():
        if tuple(tensors[key].shape) != tuple(shape):
            raise ValueError(f"{what}: {key} has shape {tuple(tensors[key].shape)}; expected {tuple(shape)}")
        if not torch.isfinite(tensors[key]).all():
            raise ValueError(f"{what}: {key} has values that are NaN or infinite")


# -- places ----------------------------------------------------------------------------------------------------------


def home() -> Path:
    """Return the folder for this package's files: `$LPIPS_LITE_HOME`, else `lpips_lite` in torch's hub folder."""
    return Path(os.environ.get("LPIPS_LITE_HOME") or Path(torch.hub.get_dir()) / "lpips_lite").expanduser()


def embedded_file() -> Path:
    """Return the verified file of the lite tower inside the package."""
    path = Path(str(resources.files("lpips_lite") / "data" / EMBEDDED.file))
    _verify(path, EMBEDDED.sha256)
    return path


def tower_cache_file(net: str) -> Path:
    """Return where a tower's convolutions are kept after its checkpoint was first read."""
    return home() / f"{net}-{TOWER_FILES[net].sha256[:8]}-features.safetensors"


def find_checkpoint(net: str) -> Path | None:
    """Return torchvision's checkpoint of a tower if one is on disk, unverified."""
    candidates = (home(), Path(torch.hub.get_dir()) / "checkpoints")
    return next((path for f in candidates if (path := f / TOWER_FILES[net].file).exists()), None)


def _load_cached_tower(net: str, shapes: Shapes) -> Tensors:
    cached = tower_cache_file(net)
    if cached.exists():
        return read_tower(cached, shapes)
    cached.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(cached.with_suffix(".lock")):  # whoever waited here finds the file
        if not cached.exists():
            entry, checkpoint = TOWER_FILES[net], find_checkpoint(net)
            with tempfile.TemporaryDirectory(dir=home()) as scratch:
                if checkpoint is None:
                    checkpoint = _download(entry, Path(scratch), f"net={net!r}", "tower_weights=PATH")
                else:
                    _verify(checkpoint, entry.sha256)
                convert_tower(net, checkpoint, cached, shapes)
    return read_tower(cached, shapes)


def convert_tower(net: str, checkpoint: Path, out: Path, shapes: Shapes) -> None:
    """Write a checkpoint's convolutions as a conv-only safetensors file that carries its own content hash."""
    tensors = read_tower(checkpoint, shapes)
    save_tensors(out, tensors, {"net": net, "source": checkpoint.name, "content": content_hash(tensors)})


def find_channel_file(entry: WeightFile) -> Path | None:
    """Return where published channel weights lie: in the cache or in an installed `lpips`; unverified."""
    version, net = entry.file.removeprefix("lpips-").removesuffix(".pth").split("-")
    package = importlib.util.find_spec("lpips")
    folders = (package.submodule_search_locations if package else None) or ()
    candidates = (home() / entry.file, *(Path(folder) / "weights" / version / f"{net}.pth" for folder in folders))
    return next((path for path in candidates if path.exists()), None)


def _cached_channel_file(entry: WeightFile) -> Path:
    path = find_channel_file(entry)
    if path is None:
        home().mkdir(parents=True, exist_ok=True)
        with FileLock((home() / entry.file).with_suffix(".lock")):
            path = find_channel_file(entry)
            if path is None:
                return _download(entry, home(), entry.name, "channel_weights=PATH")
    _verify(path, entry.sha256)
    return path


def present_files(shapes: Mapping[str, Shapes]) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Yield every weight file on this machine with a function that raises a ValueError if it is bad."""
    yield embedded_file(), embedded_file
    for net, entry in TOWER_FILES.items():
        if (kept := tower_cache_file(net)).exists():
            yield kept, partial(read_tower, kept, shapes[net])
        if checkpoint := find_checkpoint(net):
            yield checkpoint, partial(_verify, checkpoint, entry.sha256)
    for entry in CHANNEL_FILES.values():
        if path := find_channel_file(entry):
            yield path, partial(_verify, path, entry.sha256)


def _download(entry: WeightFile, folder: Path, wanted_by: str, argument: str) -> Path:
    """Download to a temporary file, verify, rename (all in torch.hub), or say how to do without."""
    path = folder / entry.file
    address = entry.source
    try:
        address = entry.url
        torch.hub.download_url_to_file(address, str(path), entry.sha256, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, ImportError) as error:
        raise FileNotFoundError(
            f"{wanted_by} needs {entry.file} ({entry.megabytes:g} MB, sha256 {entry.sha256}…), which is not on this "
            f"machine, and {address} could not be downloaded ({error}). Put the file into {home()}, or pass "
            f"{argument}, or run `compare-images weights fetch` where there is a network. "
            f'net="lite" needs no download.'
        ) from error
    return path


# -- files -----------------------------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with metadata; a reader sees either nothing or the whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        whole = Path(scratch) / path.name
        safetensors.torch.save_file({k: t.detach().contiguous() for k, t in tensors.items()}, whole, dict(metadata))
        whole.replace(path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def _read_tensors(path: Path) -> Tensors:
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")
    try:
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise six unrelated types for a bad file
        size = path.stat().st_size
        raise ValueError(
            f"weights: {path} ({size} bytes) cannot be read; it may be truncated ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"weights: {path} does not hold a mapping of names to tensors")
    return dict(tensors)


def read_tower(path: Path, shapes: Shapes) -> Tensors:
    """Read and check a tower's convolutions from a full checkpoint or a conv-only file. See `load_tower`."""
    tensors = _read_tensors(path)
    if tensors and all(re.match(r"lin\d|channel_weights", key) for key in tensors):
        raise ValueError(
            f"weights: {path} is the {path.stat().st_size / 1000:.0f} KB channel-weight file given as the tower; "
            f"the tower is a separate file with the convolutions: pass this one as channel_weights="
        )
    tensors = {k: t.float() for k, t in tensors.items() if not re.match(r"classifier\.|channel_weights\.\d", k)}
    check_tensors(tensors, shapes, f"weights: {path}")
    recorded = read_metadata(path).get("content") if path.suffix == ".safetensors" else None
    if recorded and recorded != content_hash(tensors):
        raise ValueError(f"weights: {path} holds other numbers than when it was written; delete it and load again")
    return tensors


def _read_channel_weights(path: Path, channels: Sequence[int]) -> tuple[Tensor, ...]:
    """Read this package's `channel_weights.N` (C,) or the published `linN.model.1.weight` (1, C, 1, 1)."""
    tensors = {key: t for key, t in _read_tensors(path).items() if not key.startswith("features.")}
    if not tensors:
        raise ValueError(f"weights: {path} has no channel weights; is it a tower? pass that as tower_weights=")
    published = "lin0.model.1.weight" in tensors
    pattern, tail = ("lin{}.model.1.weight", (1, 1)) if published else ("channel_weights.{}", ())
    shapes = {pattern.format(i): ((1, count, *tail) if published else (count,)) for i, count in enumerate(channels)}
    check_tensors(tensors, shapes, f"weights: {path}")
    negative = [key for key, tensor in tensors.items() if (tensor < 0).any()]
    if negative:
        raise ValueError(f"weights: {path}: negative channel weights in {negative}; expected values ≥ 0")
    return tuple(tensors[key].flatten().float() for key in shapes)


def _verify(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"weights: {path} does not exist or is not a file")
    found = _sha256(path)
    if not found.startswith(sha256):
        raise ValueError(
            f"weights: {path} has sha256 {found[: len(sha256)]}; expected {sha256}. "
            f"It is truncated or another file: delete it and load again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _random_tower(seed: int, shapes: Shapes) -> Tensors:
    """Draw He-normal weights and small positive biases, the same on every machine for one seed."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3] if len(shape) == 4 else 0
        draw = torch.randn(shape, generator=generator)
        tensors[key] = draw * (2 / fan_in) ** 0.5 if fan_in else draw.abs() * 0.05
    return tensors
