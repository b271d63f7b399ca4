"""The references that weights were trained on: recognised by pixels, kept in the file, and a reason to refuse."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lpips_lite import LPIPS, manifest
from lpips_lite.tensor_files import content_sha256, read_metadata
from lpips_lite.votes.provenance import check_unseen, reference_digest, reference_digests, rewrite_metadata, trained_on
from lpips_lite.votes.triplets import Triplet, load
from tests.command import noise
from tests.conftest import ROOT


def weights_with(path, digests, net="lite", extra=()):
    """Write channel weights, and optionally a tower, that list these digests."""
    metric = LPIPS(net, channel_weights="uniform", tower_weights="random:0")
    tower = {key: t for key, t in metric.tower.tensors.items() if key.startswith("features")}
    tensors = {**metric.tensors, **(tower if "tower" in extra else {})}
    save_file(dict(tensors), path, {"trained_on": " ".join(digests)} if digests else {})
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff"])
def test_a_reference_is_known_by_its_pixels(tmp_path, suffix):
    noise(tmp_path / "a.png", (31, 20), seed=3)
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / f"other{suffix}")
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
    noise(tmp_path / "b.png", (31, 20), seed=4)
    digest = reference_digest(tmp_path / "a.png")
    assert len(digest) == 16
    assert reference_digest(tmp_path / f"other{suffix}") == digest
    assert len({digest, *(reference_digest(tmp_path / name) for name in ("turned.png", "b.png"))}) == 3


def test_size_is_part_of_the_digest(tmp_path):
    for size in ((8, 2), (2, 8), (4, 4)):
        Image.new("RGB", size).save(tmp_path / f"{size}.png")
    assert len({reference_digest(path) for path in tmp_path.iterdir()}) == 3


@pytest.mark.parametrize("where", ["channel_weights", "tower_weights"])
@pytest.mark.parametrize("net", ["lite", "alex", "squeeze"])
def test_metrics_know_what_their_files_list(tmp_path, net, where):
    path = weights_with(tmp_path / "w.safetensors", ["0" * 16, "f" * 16], net, ["tower"])
    arguments = {"channel_weights": "uniform", "tower_weights": "random:0", where: path}
    assert LPIPS(net, **arguments).trained_on == {"0" * 16, "f" * 16}
    weights_with(path, [], net, ["tower"])
    assert LPIPS(net, **arguments).trained_on == frozenset()


@pytest.mark.parametrize("listed", ["0123", "x" * 16, "A" * 16])
def test_lists_that_are_none(tmp_path, listed):
    path = weights_with(tmp_path / "w.safetensors", [listed], extra=["tower"])
    for argument in ("channel_weights", "tower_weights"):
        with pytest.raises(ValueError, match="in its list trained_on; expected 16 hex digits"):
            LPIPS("lite", **{"channel_weights": "uniform", "tower_weights": "random:0", argument: path})


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_one_reference_is_enough_to_refuse(tmp_path, seen):
    triplets = []
    for number in range(3):
        noise(tmp_path / f"{number}.png", seed=number)
        triplets.append(Triplet("t", tmp_path / f"{number}.png", tmp_path / "a", tmp_path / "b", 0.5, 2.0))
    digests = reference_digests(triplets)
    path = weights_with(tmp_path / "w.safetensors", ["0" * 16, *list(digests.values())[:seen]])
    metric = LPIPS("lite", channel_weights=path, tower_weights="random:0")
    assert trained_on(metric, digests.values()).split() == sorted({"0" * 16, *digests.values()})
    if seen == 0:
        check_unseen(metric, digests)
        return
    with pytest.raises(ValueError, match=f"judgments of {seen} of these 3 references, the first .*0.png"):
        check_unseen(metric, digests)


@pytest.mark.parametrize("own", ["both", "tower", "channel weights"])
def test_lite_lists_its_fifty_references(own):
    tensors = {key: t for key, t in LPIPS("lite").tower.tensors.items() if key.startswith("features")}
    arguments = {"both": {}, "tower": {"channel_weights": "uniform"}, "channel weights": {"tower_weights": tensors}}
    assert len(LPIPS("lite", **arguments[own]).trained_on) == 50


def test_distilled_weights_and_other_nets_list_none():
    distilled = ROOT / "calibration/results/lite-0.4-distilled.safetensors"
    assert not LPIPS("lite", channel_weights=distilled, tower_weights=distilled).trained_on
    assert not LPIPS("alex", channel_weights="uniform", tower_weights="random:0").trained_on


@pytest.mark.parametrize("name", ["mucped23", "tid2013"])
def test_lite_has_seen_what_it_learnt_from(shared, name):
    paths = sorted((shared / "human" / name / ("originals" if name == "mucped23" else "ref")).iterdir())
    assert {reference_digest(path) for path in paths} <= LPIPS("lite").trained_on
    assert len(paths) == {"mucped23": 34, "tid2013": 16}[name]


def test_lite_has_not_seen_other_people_s_references(shared):
    check_unseen(LPIPS("lite"), reference_digests(load([shared / "human/materials"])))


def test_rewritten_metadata(tmp_path):
    path, again = tmp_path / "w.safetensors", tmp_path / "again.safetensors"
    shutil.copy(manifest.embedded_file(), path)
    before, record = load_file(path), read_metadata(path)
    rewrite_metadata(path, {"note": "ü", "slope": "1"})
    after = load_file(path)
    assert content_sha256(after) == content_sha256(before)
    assert read_metadata(path) == {**record, "note": "ü", "slope": "1"}
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    save_file(after, again, json.loads(json.dumps(read_metadata(path))))  # in some other order
    rewrite_metadata(again, {})
    assert again.read_bytes() == path.read_bytes()
    rewrite_metadata(path, {"note": record["net"], "slope": record["slope"]})
    assert LPIPS("lite", channel_weights=path).signature.endswith("-77f49e32 heads=2")


def test_the_embedded_file_is_as_rewriting_leaves_it(tmp_path):
    path = tmp_path / "lite.safetensors"
    shutil.copy(manifest.embedded_file(), path)
    rewrite_metadata(path, {"trained_on": trained_on(LPIPS("lite"), [])})
    assert path.read_bytes() == manifest.embedded_file().read_bytes()
    assert path.stat().st_size < 2e6
