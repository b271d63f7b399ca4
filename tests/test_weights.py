"""Weight files: where they are found, how they are verified, and an error for everything that can be wrong."""

import errno
import hashlib
import http.server
import multiprocessing
import pwd
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lpips_lite import LPIPS, TOWERS, FeatureTower, manifest, tensor_files, weights
from tests.conftest import ROOT
from tests.peers import random_channels, random_tower, two_headed_file


def checkpoint(path, net="squeeze", **changes):
    """Write a random tower as torchvision would, classifier included; `changes` replace tensors."""
    tensors = {**random_tower(net), "classifier.1.weight": torch.zeros(10, 4), **changes}
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)
    return path


def channel_file(path, net="squeeze", **changes):
    """Write random channel weights under the published keys."""
    tensors = {f"lin{i}.model.1.weight": w.view(1, -1, 1, 1) for i, w in enumerate(random_channels(net))}
    tensors.update(changes)
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)
    return path


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def publish(monkeypatch, path, source="http://127.0.0.1:9/none", net="squeeze", content=None):
    """Make the manifest expect `path`, a random tower, as the file of a tower."""
    content = tensor_files.content_sha256(random_tower(net)) if content is None else content
    entry = replace(manifest.TOWER_FILES[net], file=path.name, sha256=sha256(path), source=source, content=content)
    monkeypatch.setattr(manifest, "TOWER_FILES", {**manifest.TOWER_FILES, net: entry})
    return entry


# -- the manifest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "enum"),
    [("alex", "AlexNet"), ("vgg", "VGG16"), ("vgg19", "VGG19"), ("squeeze", "SqueezeNet1_1")],
)
def test_tower_addresses_are_torchvisions_and_carry_the_hash(net, enum):
    models = pytest.importorskip("torchvision.models")
    entry = manifest.TOWER_FILES[net]
    assert entry.source == models.get_weight(f"{enum}_Weights.IMAGENET1K_V1").url
    assert entry.source.endswith(f"/{entry.file}")
    assert f"-{entry.sha256[:8]}.pth" in entry.file


def test_channel_weight_entries_equal_the_lpips_package(shared):
    for (net, version), entry in manifest.CHANNEL_FILES.items():
        path = shared / f"reference/channel_weights/{version}/{net}.pth"
        assert sha256(path) == entry.sha256
        assert round(path.stat().st_size / 1e6, 3) == entry.megabytes
        assert entry.source.endswith(f"/lpips/weights/{version}/{net}.pth")
        assert "082bb24f84c091ea94de2867d34c4544f68e0963" in entry.source


def test_published_channel_weights_have_the_published_sums():
    sums = {
        "alex": [2.350, 16.143, 39.268, 27.197, 20.317],
        "vgg": [6.926, 8.858, 17.515, 51.521, 47.035],
        "squeeze": [5.690, 1.185, 16.327, 71.013, 37.371, 24.263, 17.591],
    }
    for net, expected in sums.items():
        channels = [tap.channels for tap in TOWERS[net].find_taps()]
        found = weights.load_channel_weights(net, "calibrated", channels)
        assert found.label == "v0.1"
        assert [float(w.sum()) for w in found.tensors] == pytest.approx(expected, abs=6e-4)


def test_embedded_file_is_the_manifests_and_small():
    path = weights.embedded_file()
    assert path.stat().st_size <= 2e6
    assert tensor_files.read_metadata(path)["net"] == "lite"


# -- finding files -------------------------------------------------------------------------------------------------


def test_lite_needs_no_cache_and_makes_none(home):
    LPIPS("lite")
    assert not home.exists()


def hub():
    """Make the folder where torchvision leaves its checkpoints."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("place", ["home", "hub"])
def test_checkpoint_on_disk_is_found_and_its_convolutions_kept(place, home, tmp_path, monkeypatch):
    home.mkdir()
    folder = home if place == "home" else hub()
    publish(monkeypatch, checkpoint(folder / "squeeze.pth"))
    first = LPIPS("squeeze")
    kept = manifest.tower_cache_file("squeeze")
    assert kept.parent == home
    assert all(key.startswith("features.") for key in load_file(kept))
    assert tensor_files.read_metadata(kept) == {
        "net": "squeeze",
        "source": "squeeze.pth",
        "sha256": sha256(folder / "squeeze.pth"),
        "content": tensor_files.content_sha256(random_tower("squeeze")),
    }
    (folder / "squeeze.pth").unlink()
    assert LPIPS("squeeze").signature == first.signature


def test_full_checkpoint_and_conv_only_files_are_one_metric(tmp_path):
    tower = random_tower("squeeze")
    full = checkpoint(tmp_path / "full.pth")
    torch.save(tower, tmp_path / "conv.pth")
    save_file(tower, tmp_path / "conv.safetensors")
    weights.convert_tower("squeeze", full, tmp_path / "converted.safetensors", TOWERS["squeeze"].shapes())
    signatures = {LPIPS("squeeze", tower_weights=path).signature for path in tmp_path.iterdir()}
    assert len(signatures) == 1
    assert LPIPS("squeeze", tower_weights=tower).signature in signatures
    assert (tmp_path / "converted.safetensors").stat().st_size < full.stat().st_size + 5000


def test_given_published_file_is_the_published_version(shared):
    for version in ("v0.1", "v0.0"):
        path = shared / f"reference/channel_weights/{version}/alex.pth"
        by_path = LPIPS("alex", channel_weights=path, tower_weights="random:0")
        by_name = LPIPS("alex", channel_weights=version, tower_weights="random:0")
        assert by_path.signature == by_name.signature
        x, y = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40)
        assert by_path(x, y) == by_name(x, y)  # v0.0 has no input scaling, whichever way it is named


def test_channel_weights_in_the_cache_come_first(home, monkeypatch):
    home.mkdir()
    entry = replace(manifest.CHANNEL_FILES["squeeze", "v0.1"], sha256=sha256(channel_file(home / "mine.pth")))
    (home / "mine.pth").rename(home / entry.file)
    monkeypatch.setattr(manifest, "CHANNEL_FILES", {("squeeze", "v0.1"): entry})
    metric = LPIPS("squeeze", tower_weights="random:0")
    assert torch.equal(metric.tensors["channel_weights.0"], random_channels("squeeze")[0])


def test_one_file_may_hold_tower_and_channel_weights(tmp_path):
    path = shutil.copy(weights.embedded_file(), tmp_path / "both.safetensors")
    metric = LPIPS("lite", tower_weights=path, channel_weights=path)
    assert metric.signature.replace("weights=both-", "weights=lite-0.4-") == LPIPS("lite").signature


# -- downloading ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    """A local web server over a folder; counts its requests."""
    folder = tmp_path / "www"
    folder.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            requests.append(args)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}", requests
        httpd.shutdown()


def test_download_verifies_keeps_the_convolutions_and_happens_once(server, home, monkeypatch):
    folder, address, requests = server
    publish(monkeypatch, checkpoint(folder / "squeeze.pth"), f"{address}/squeeze.pth")
    signature = LPIPS("squeeze").signature
    assert LPIPS("squeeze").signature == signature
    assert len(requests) == 1
    left = {path.name for path in home.iterdir() if path.suffix != ".lock"}
    assert left == {manifest.tower_cache_file("squeeze").name}


@pytest.mark.parametrize("damage", ["truncated", "other"])
def test_bad_download_is_an_error_and_leaves_nothing(damage, server, home, monkeypatch):
    folder, address, _ = server
    path = checkpoint(folder / "squeeze.pth")
    publish(monkeypatch, path, f"{address}/squeeze.pth")
    path.write_bytes(path.read_bytes()[:1000] if damage == "truncated" else b"<html>not here</html>")
    with pytest.raises(FileNotFoundError, match="invalid hash value"):
        LPIPS("squeeze")
    assert [path for path in home.iterdir() if path.suffix != ".lock"] == []


def test_channel_weights_are_downloaded_when_lpips_is_not_installed(server, home, monkeypatch):
    folder, address, requests = server
    path = channel_file(folder / "squeeze.pth")
    entry = replace(manifest.CHANNEL_FILES["squeeze", "v0.1"], sha256=sha256(path), source=f"{address}/squeeze.pth")
    monkeypatch.setattr(manifest, "CHANNEL_FILES", {("squeeze", "v0.1"): entry})
    monkeypatch.setattr(manifest.importlib.util, "find_spec", lambda name: None)
    for _ in range(2):
        metric = LPIPS("squeeze", tower_weights="random:0")
    assert len(requests) == 1
    assert torch.equal(metric.tensors["channel_weights.0"], random_channels("squeeze")[0])


def test_without_a_network_the_message_says_what_to_do(home, monkeypatch):
    entry = replace(manifest.TOWER_FILES["alex"], source="http://127.0.0.1:9/alexnet-owt-7be5be79.pth")
    monkeypatch.setattr(manifest, "TOWER_FILES", {"alex": entry})
    with pytest.raises(FileNotFoundError) as caught:
        LPIPS("alex")
    text = str(caught.value)
    for part in (
        entry.file,
        entry.source,
        entry.sha256,
        str(home),
        "tower_weights=PATH",
        'net="lite" needs no download',
    ):
        assert part in text


def _load(address, digest, home, results):
    import os

    os.environ["LPIPS_LITE_HOME"] = home
    entry = replace(manifest.TOWER_FILES["squeeze"], file="squeeze.pth", sha256=digest, source=address, content="")
    manifest.TOWER_FILES = {"squeeze": entry}
    results.put(LPIPS("squeeze").signature)


def test_two_processes_at_once_end_with_one_good_file(server, home, monkeypatch):
    folder, address, requests = server
    digest = sha256(checkpoint(folder / "squeeze.pth"))
    publish(monkeypatch, folder / "squeeze.pth", content="")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (f"{address}/squeeze.pth", digest, str(home), results)
    processes = [context.Process(target=_load, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    signatures = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert len(signatures) == len(requests) == 1
    (kept,) = home.glob("*.safetensors")
    assert LPIPS("squeeze", tower_weights=kept).signature in signatures


# -- what can be wrong with a file ---------------------------------------------------------------------------------

NAN, FIRST = torch.tensor(float("nan")), "features.0.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({FIRST: None}, r"missing keys \['features.0.weight'\], unexpected keys none"),
        ({"features.99.weight": torch.zeros(1)}, r"missing keys none, unexpected keys \['features.99.weight'\]"),
        ({"module.head": torch.zeros(1)}, r"unexpected keys \['module.head'\]"),
        ({FIRST: torch.zeros(64, 3, 5, 5)}, r"features.0.weight has shape \(64, 3, 5, 5\); expected \(64, 3, 3, 3\)"),
        (
            {FIRST: torch.full((64, 3, 3, 3), float("nan"))},
            "features.0.weight has values that are NaN, inf",
        ),
    ],
)
def test_wrong_tower_files(tmp_path, changes, message):
    path = checkpoint(tmp_path / "tower.pth", **changes)
    with pytest.raises(ValueError, match=message):
        LPIPS("squeeze", tower_weights=path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lin1.model.1.weight": None}, r"missing keys \['lin1.model.1.weight'\]"),
        ({"lin9.model.1.weight": torch.zeros(1, 8, 1, 1)}, r"unexpected keys \['lin9.model.1.weight'\]"),
        ({"lin0.model.1.weight": torch.zeros(1, 8, 1, 1)}, r"has shape \(1, 8, 1, 1\); expected \(1, 64, 1, 1\)"),
        ({"lin0.model.1.weight": -torch.ones(1, 64, 1, 1)}, r"negative channel weights in \['lin0.model.1.weight'\]"),
        ({"lin0.model.1.weight": NAN.expand(1, 64, 1, 1).clone()}, "lin0.model.1.weight has values that are NaN"),
    ],
)
def test_wrong_channel_weight_files(tmp_path, changes, message):
    path = channel_file(tmp_path / "lin.pth", **changes)
    with pytest.raises(ValueError, match=message):
        LPIPS("squeeze", channel_weights=path, tower_weights="random:0")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f"tower{suffix}"
    if suffix == ".pth":
        checkpoint(path)
    else:
        save_file(random_tower("squeeze"), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=rf"tower{suffix} \(\d+ bytes\) cannot be read as weights; it may be truncated"
    ):
        LPIPS("squeeze", tower_weights=path)


def test_wrong_hash_of_a_named_checkpoint(tmp_path):
    path = checkpoint(tmp_path / "squeezenet1_1-b8a52dc0.pth")
    with pytest.raises(ValueError, match=r"has sha256 [0-9a-f]{8}; expected b8a52dc0.*delete it and load again"):
        LPIPS("squeeze", tower_weights=path)


def test_wrong_hash_of_a_cached_checkpoint(home):
    home.mkdir()
    checkpoint(home / "squeezenet1_1-b8a52dc0.pth")
    with pytest.raises(ValueError, match="expected b8a52dc0"):
        LPIPS("squeeze")


def test_changed_numbers_in_a_kept_file(home, monkeypatch):
    home.mkdir()
    publish(monkeypatch, checkpoint(home / "squeeze.pth"))
    LPIPS("squeeze")
    kept = manifest.tower_cache_file("squeeze")
    data = bytearray(kept.read_bytes())
    data[-2] ^= 1
    kept.write_bytes(data)
    with pytest.raises(ValueError, match="was changed after it was written"):
        LPIPS("squeeze")


def test_a_damaged_embedded_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "EMBEDDED", replace(manifest.EMBEDDED, sha256="0" * 64))
    with pytest.raises(ValueError, match="lite.safetensors has sha256"):
        LPIPS("lite")


def test_channel_weights_given_as_the_tower_and_the_reverse(tmp_path):
    with pytest.raises(ValueError, match=r"is the \d+ KB file of channel weights, passed as a tower.*channel_weights="):
        LPIPS("squeeze", tower_weights=channel_file(tmp_path / "lin.pth"))
    torch.save(random_tower("squeeze"), tmp_path / "tower.pth")
    with pytest.raises(ValueError, match="has no channel weights; is it a tower"):
        LPIPS("squeeze", channel_weights=tmp_path / "tower.pth", tower_weights="random:0")


def test_published_channel_file_as_the_tower(shared):
    with pytest.raises(ValueError, match="is the 6 KB file of channel weights, passed as a tower"):
        LPIPS("alex", tower_weights=shared / "reference/channel_weights/v0.1/alex.pth")


def test_files_that_are_not_weights(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="does not hold a mapping of names to tensors"):
        LPIPS("alex", tower_weights=tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match="none.pth does not exist"):
        LPIPS("alex", tower_weights=tmp_path / "none.pth")


def test_given_tensors_are_checked_too():
    tensors = random_tower("lite")
    tensors.pop("features.0.bias")
    with pytest.raises(ValueError, match=r"weights of tower 'lite': missing keys \['features.0.bias'\]"):
        FeatureTower("lite", weights=tensors)


# -- folders that cannot be written ----------------------------------------------------------------------------------


def refuse(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


def _below_a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LPIPS_LITE_HOME", str(tmp_path / "file" / "home"))


def _a_file(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LPIPS_LITE_HOME", str(tmp_path / "file"))


def _in_proc(monkeypatch, tmp_path):
    monkeypatch.setenv("LPIPS_LITE_HOME", "/proc/no/home")


def _read_only(monkeypatch, tmp_path):
    """An existing folder in which nothing can be written."""
    Path(manifest.home()).mkdir()
    error = OSError(errno.EROFS, "Read-only file system")
    for name in ("FileLock", "torch.hub.download_url_to_file"):
        monkeypatch.setattr(f"lpips_lite.manifest.{name}", refuse(error))
    monkeypatch.setattr(tensor_files.tempfile, "TemporaryDirectory", refuse(error))


def _full(monkeypatch, tmp_path):
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse(error))
    monkeypatch.setattr(tensor_files.safetensors.torch, "save_file", refuse(SafetensorError("No space left on device")))


def _without_a_home(monkeypatch, tmp_path):
    """A user that is unknown to the machine, as in containers."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", refuse(KeyError("uid")))
    monkeypatch.setenv("LPIPS_LITE_HOME", "~/cache")
    monkeypatch.chdir(tmp_path)


def _without_any_folder(monkeypatch, tmp_path):
    _without_a_home(monkeypatch, tmp_path)
    for name in ("LPIPS_LITE_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


REFUSALS = [_below_a_file, _a_file, _in_proc, _read_only, _full, _without_a_home]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_can_be_read_needs_no_folder_to_write(refusal, monkeypatch, tmp_path):
    """A checkpoint in torch's cache and channel weights in the `lpips` package."""
    pytest.importorskip("lpips")
    hub_folder = hub()
    publish(monkeypatch, checkpoint(hub_folder / "squeeze.pth"))
    expected = LPIPS("squeeze", tower_weights=hub_folder / "squeeze.pth").signature
    refusal(monkeypatch, tmp_path)
    for _ in range(2):
        assert LPIPS("squeeze").signature == expected
    assert not manifest.tower_cache_file("squeeze").exists()
    assert not (tmp_path / "~").exists()
    (hub_folder / "squeeze.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match="has sha256"):
        LPIPS("squeeze")


@pytest.mark.parametrize("argument", ["tower_weights", "channel_weights"])
@pytest.mark.parametrize("refusal", [*REFUSALS, _without_any_folder])
def test_what_is_missing_is_named_with_a_way_out(refusal, argument, monkeypatch, tmp_path):
    refusal(monkeypatch, tmp_path)
    monkeypatch.setattr(manifest.importlib.util, "find_spec", lambda name: None)
    given = {"tower_weights": {"channel_weights": "uniform"}, "channel_weights": {"tower_weights": "random:0"}}
    entry = {"tower_weights": manifest.TOWER_FILES["alex"], "channel_weights": manifest.CHANNEL_FILES["alex", "v0.1"]}
    with pytest.raises(FileNotFoundError) as caught:
        LPIPS("alex", **given[argument])
    for part in ("LPIPS_LITE_HOME", entry[argument].file, str(manifest.home()), f"{argument}=PATH"):
        assert part in str(caught.value)
    assert ".lock" not in str(caught.value)
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "another user's"), NotImplementedError("no flock")])
def test_without_a_lock_a_download_is_kept_all_the_same(error, server, home, monkeypatch):
    folder, address, requests = server
    publish(monkeypatch, checkpoint(folder / "squeeze.pth"), f"{address}/squeeze.pth")
    monkeypatch.setattr(manifest, "FileLock", refuse(error))
    for _ in range(2):
        LPIPS("squeeze")
    assert len(requests) == 1
    assert [path.name for path in home.iterdir()] == [manifest.tower_cache_file("squeeze").name]


def test_a_kept_file_is_read_without_a_lock(home, monkeypatch):
    home.mkdir()
    publish(monkeypatch, checkpoint(home / "squeeze.pth"))
    LPIPS("squeeze")
    monkeypatch.setattr(manifest, "FileLock", refuse(AssertionError("a lock")))
    LPIPS("squeeze")


# -- two heads, and other towers -------------------------------------------------------------------------------------


BAD_HEADS = {
    "a layer of the near head is missing": ({"near_weights.3": None}, r"missing keys \['near_weights.3'\]"),
    "no limit": ({"near_limit": None}, r"missing keys \['near_limit'\]"),
    "only a limit": ({f"near_weights.{layer}": None for layer in range(10)}, r"missing keys \['near_weights.0', "),
    "a layer too many": ({"near_weights.10": torch.ones(4)}, r"unexpected keys \['near_weights.10'\]"),
    "another name": ({"near_slope": torch.ones(())}, r"unexpected keys \['near_slope'\]"),
    "other channels": ({"near_weights.0": torch.ones(41)}, r"near_weights.0 has shape \(41,\); expected \(40,\)"),
    "negative": ({"near_weights.2": -torch.ones(112)}, r"negative channel weights in \['near_weights.2'\]"),
    "NaN": ({"near_weights.2": torch.full((112,), torch.nan)}, "near_weights.2 has values that are NaN, infinite"),
    "limit 0": ({"near_limit": torch.tensor(0.0)}, "near_limit is 0; expected a positive number"),
    "limit below 0": ({"near_limit": torch.tensor(-0.5)}, "near_limit is -0.5; expected a positive number"),
    "limit 0 in float32": ({"near_limit": torch.tensor(1e-60, dtype=torch.float64)}, "near_limit is 0; expected"),
    "limit NaN": ({"near_limit": torch.tensor(torch.nan)}, "near_limit has values that are NaN"),
    "limit infinite": ({"near_limit": torch.tensor(torch.inf)}, "near_limit has values that are NaN, infinite"),
    "limit of another shape": ({"near_limit": torch.ones(1)}, r"near_limit has shape \(1,\); expected \(\)"),
    "no far head": ({f"channel_weights.{layer}": None for layer in range(10)}, r"missing keys \['channel_weights.0', "),
}


@pytest.mark.parametrize(("changes", "message"), BAD_HEADS.values(), ids=BAD_HEADS)
def test_a_near_head_is_whole_or_not_there(tmp_path, changes, message):
    path = two_headed_file(tmp_path / "bad.safetensors", **changes)
    with pytest.raises(ValueError, match=f"bad.safetensors.*{message}"):
        LPIPS("lite", tower_weights="random:0", channel_weights=path)


def test_two_heads_alone_are_no_tower(tmp_path, two_heads):
    tensors = {key: tensor for key, tensor in load_file(two_heads).items() if not key.startswith("features.")}
    save_file(tensors, tmp_path / "weights.safetensors")
    assert LPIPS("lite", tower_weights=two_heads, channel_weights=tmp_path / "weights.safetensors").tensors.keys() == (
        tensors.keys()
    )
    with pytest.raises(ValueError, match="is the 7 KB file of channel weights, passed as a tower"):
        FeatureTower("lite", weights=tmp_path / "weights.safetensors")


def test_files_of_either_table_give_what_they_gave():
    path = ROOT / "calibration/results/lite-0.2-distilled.safetensors"
    metric = LPIPS("lite", tower_weights=path, channel_weights=path)
    assert metric.signature == "lpips-lite/1.0 net=lite tower=custom-a19aef48 weights=custom-520fd250"
    across = torch.linspace(0, 1, 48).expand(1, 3, 40, 48)
    assert metric(across, across.flip(-1)).item() == pytest.approx(0.6933011, rel=1e-5)
    uniform = LPIPS("lite", tower_weights=path, channel_weights="uniform")
    assert [len(weights) for weights in uniform.tensors.values()] == [40, 80, 112, 96, 96]
    with pytest.raises(ValueError, match=r"missing keys \['channel_weights.5', "):
        LPIPS("lite", tower_weights="random:0", channel_weights=path)


def test_a_version_that_is_not_published_is_told_before_a_tower_is_looked_for():
    with pytest.raises(ValueError, match="channel_weights='v0.2': not published for net='alex'"):
        LPIPS("alex", tower_weights="missing.pth", channel_weights="v0.2")


# -- identity by content -------------------------------------------------------------------------------------------


def own_file(path, changes=None, **metadata):
    """Write channel weights for the lite tower."""
    taps = FeatureTower("lite").taps
    tensors = {f"channel_weights.{i}": torch.full((tap.channels,), 0.5) for i, tap in enumerate(taps)}
    tensor_files.save_tensors(path, {**tensors, **(changes or {})}, metadata)
    return path


@pytest.mark.parametrize("stem", ["uniform", "v0.0", "v0.1", "calibrated", "lite-0.3", "mine"])
def test_the_name_of_a_file_tells_nothing(tmp_path, stem):
    """A file with the name v0.0 is not the published v0.0, which takes another input range."""
    named = LPIPS("lite", channel_weights=own_file(tmp_path / f"{stem}.safetensors"))
    plain = LPIPS("lite", channel_weights=own_file(tmp_path / "other.safetensors"))
    x, y = torch.rand(2, 1, 3, 32, 32)
    assert named.signature == plain.signature
    assert torch.equal(named(x, y), plain(x, y))
    assert " weights=custom-" in named.signature


def test_the_embedded_file_by_its_path_is_the_same_metric(tmp_path):
    path = tmp_path / "elsewhere.safetensors"
    path.write_bytes(weights.embedded_file().read_bytes())
    by_path = LPIPS("lite", channel_weights=path, tower_weights=path)
    assert by_path.signature == LPIPS("lite").signature
    assert by_path.slope == LPIPS("lite").slope


def test_another_tower_has_no_slope():
    tower = {key: tensor / 2 for key, tensor in FeatureTower("lite").tensors.items() if key.startswith("features.")}
    metric, x = LPIPS("lite", tower_weights=tower), torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="carry no slope"):
        metric.preference(x, x, x)


def test_lite_knows_how_sure_people_are():
    metric, x = LPIPS("lite"), torch.rand(1, 3, 32, 32)
    assert metric.preference(x, x, x).item() == 0.5
    assert metric.preference(x, torch.rand(1, 3, 32, 32), x).item() > 0.5


def test_the_docs_say_what_lites_slope_was_fitted_to():
    metadata = tensor_files.read_metadata(weights.embedded_file())
    text = LPIPS.preference.__doc__
    assert f"The slope of lite is {float(metadata['slope']):.2f}," in text
    assert "fitted to 9,425 votes" in " ".join(text.split())


@pytest.mark.parametrize("slope", ["nan", "inf", "-3", "0"])
def test_slopes_that_are_none(tmp_path, slope):
    with pytest.raises(ValueError, match="has slope=.* in its metadata; expected a positive number"):
        LPIPS("lite", channel_weights=own_file(tmp_path / "w.safetensors", slope=slope))


def test_weights_beyond_float32(tmp_path):
    changes = {"channel_weights.0": torch.full((FeatureTower("lite").taps[0].channels,), 1e200, dtype=torch.float64)}
    with pytest.raises(ValueError, match="NaN, infinite or beyond float32"):
        LPIPS("lite", channel_weights=own_file(tmp_path / "w.safetensors", changes))


ODD = {
    "number as key": {1: torch.ones(3)},
    "sparse": {"features.0.weight": torch.eye(3).to_sparse()},
    "meta": {"features.0.weight": torch.ones(3, device="meta")},
    "complex": {"features.0.weight": torch.ones(3, dtype=torch.complex64)},
    "no tensor": {"features.0.weight": [1, 2, 3]},
}


@pytest.mark.parametrize("tensors", ODD.values(), ids=ODD)
@pytest.mark.filterwarnings("ignore")
def test_odd_tensors_are_value_errors(tmp_path, tensors):
    torch.save(tensors, tmp_path / "odd.pth")
    for argument in ("tower_weights", "channel_weights"):
        with pytest.raises(ValueError, match="odd.pth"):
            LPIPS("lite", **{argument: tmp_path / "odd.pth"})


@pytest.mark.parametrize("version", ["v0.0", "v0.1"])
def test_published_channel_weights_are_known_by_content_in_any_file(version, tmp_path, shared):
    """Weights that were saved again, or saved by `lpips` as a whole model, with each layer under two names."""
    published = torch.load(shared / f"reference/channel_weights/{version}/alex.pth", map_location="cpu")
    twice = {key.replace("lin", "lins.", 1): tensor for key, tensor in published.items()}
    whole = {**published, **twice, "net.slice1.0.weight": torch.zeros(3), "scaling_layer.shift": torch.zeros(3)}
    for number, tensors in enumerate((published, whole)):
        path = tmp_path / f"{number}.pth"
        torch.save(tensors, path)
        found = weights.load_channel_weights("alex", path, [64, 192, 384, 256, 256])
        assert (found.label, found.scaled) == (version, version != "v0.0")
    twice["lins.0.model.1.weight"] = 2 * twice["lins.0.model.1.weight"]
    torch.save({**published, **twice}, path)
    with pytest.raises(ValueError, match="lins.0.model.1.weight differs from lin0.model.1.weight"):
        weights.load_channel_weights("alex", path, [64, 192, 384, 256, 256])
