"""Towers are recognised by their content: the published ones, however they are loaded; all others are custom."""

import pytest
from safetensors.torch import load_file, save_file

from lpips_lite import TOWERS, FeatureTower, manifest, tensor_files, weights
from lpips_lite.catalog import parse_metric
from tests.peers import random_tower
from tests.test_weights import FIRST, checkpoint, hub, publish

# -- published or custom ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "file"), [("alex", "alexnet_features.pth"), ("squeeze", "squeezenet1_1_features.pth")])
def test_the_published_towers_have_the_manifests_content(shared, net, file):
    tower = weights.load_tower(net, shared / "reference" / file, TOWERS[net].shapes())
    assert tower.content == manifest.TOWER_FILES[net].content
    assert tower.label == FeatureTower(net, weights=tower.tensors).label == tower.content[:8]


def test_the_embedded_tower_has_the_manifests_content():
    tower = weights.load_tower("lite", None, FeatureTower("lite").spec.shapes())
    assert tower.content == manifest.EMBEDDED.content
    assert tower.label == FeatureTower("lite").fingerprint


@pytest.mark.parametrize("net", ["alex", "vgg", "vgg19", "squeeze", "lite"])
def test_a_tower_that_was_not_published_is_called_custom(net, tmp_path):
    """Tensors, their file with any name, and the seed that they were drawn with give the same tower."""
    tensors = random_tower(net)
    stem = manifest.tower_entry(net).file.split("-")[0].removesuffix(".safetensors")
    path = checkpoint(tmp_path / f"{stem}.pth", net)
    weights.convert_tower(net, path, tmp_path / f"{stem}-features.safetensors", TOWERS[net].shapes())
    towers = [FeatureTower(net, weights=source) for source in (tensors, "random:0", *tmp_path.iterdir())]
    assert {tower.label for tower in towers} == {f"custom-{towers[0].fingerprint}"}
    assert len(towers[0].fingerprint) == 8


@pytest.mark.parametrize("name", ["gram", "content", "crn", "dists", "alex"])
def test_every_metric_with_a_tower_says_custom(name):
    assert " tower=custom-" in parse_metric(f"{name}:tower=random:0").load().signature


@pytest.mark.parametrize("content", [None, ""], ids=["content known", "content not known"])
def test_full_checkpoint_and_kept_convolutions_are_one_published_tower(content, home, tmp_path, monkeypatch):
    shapes = TOWERS["squeeze"].shapes()
    full = checkpoint(hub() / "squeeze.pth")
    publish(monkeypatch, full, content=content)
    kept, again = manifest.tower_cache_file("squeeze"), tmp_path / "again.safetensors"
    labels = [FeatureTower("squeeze").label, FeatureTower("squeeze").label]  # from the checkpoint, from what was kept
    weights.convert_tower("squeeze", kept, again, shapes)
    labels += [FeatureTower("squeeze", weights=path).label for path in (full, kept, again)]
    assert set(labels) == {FeatureTower("squeeze").fingerprint}
    bare = tmp_path / "bare.safetensors"
    save_file(random_tower("squeeze"), bare)  # the same numbers, but nothing says so unless their content is known
    assert FeatureTower("squeeze", weights=bare).label == ("custom-" if content == "" else "") + labels[0]


# -- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["alex", "vgg", "vgg19", "squeeze"])
def test_another_tower_under_the_name_of_a_kept_file_is_refused(net, home, tmp_path):
    weights.convert_tower(
        net, checkpoint(tmp_path / "any.pth", net), manifest.tower_cache_file(net), TOWERS[net].shapes()
    )
    with pytest.raises(ValueError, match=r"is not (known to be )?the published .* tower: .*as a custom tower"):
        FeatureTower(net)
    assert FeatureTower(net, weights=manifest.tower_cache_file(net)).label.startswith("custom-")


DAMAGE = {
    "no record": (lambda record: {}, "does not record that it was made from a file with sha256"),
    "an older record": (
        lambda record: {key: record[key] for key in ("net", "source")} | {"content": record["content"][:8]},
        "does not record that it was made from a file with sha256",
    ),
    "another file": (lambda record: record | {"sha256": "0" * 64}, "does not record"),
    "no content": (lambda record: record | {"content": ""}, "was changed after it was written"),
    "other numbers": (lambda record: record, "was changed after it was written"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_kept_file_whose_content_is_not_known_must_record_where_it_comes_from(damage, message, monkeypatch, request):
    publish(monkeypatch, checkpoint(hub() / "squeeze.pth"), content="")
    FeatureTower("squeeze")
    kept = manifest.tower_cache_file("squeeze")
    tensors, record = load_file(kept), tensor_files.read_metadata(kept)
    if "other numbers" in request.node.name:
        tensors[FIRST] += 1
    tensor_files.save_tensors(kept, tensors, damage(record))
    with pytest.raises(ValueError, match=message):
        FeatureTower("squeeze")


def test_a_kept_file_whose_content_is_known_needs_no_record(home, monkeypatch):
    publish(monkeypatch, checkpoint(hub() / "squeeze.pth"))
    tensor_files.save_tensors(manifest.tower_cache_file("squeeze"), random_tower("squeeze"), {})
    assert FeatureTower("squeeze").label == FeatureTower("squeeze").fingerprint
