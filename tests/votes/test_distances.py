"""Distances of judged images: kept by content, whatever the files are called, and always real numbers."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from lpips_lite import LPIPS, lpips, read_image
from lpips_lite.catalog import LoadedMetric, parse_metric
from lpips_lite.files.settings import Settings
from lpips_lite.votes import distances
from lpips_lite.votes.distance_tables import parse_distances, read_distances
from lpips_lite.votes.distances import Known, Measuring, contents, measure


@pytest.fixture
def images(tmp_path):
    """Two references with three images each; the last one is a copy of the first."""
    pairs, generator = [], np.random.default_rng(0)
    for ref in range(2):
        pixels = [generator.integers(0, 256, (40, 36 + ref, 3), dtype=np.uint8) for _ in range(3)]
        paths = [tmp_path / f"{ref}-{place}.png" for place in range(4)]
        for path, image in zip(paths, [*pixels, pixels[1]], strict=True):
            Image.fromarray(image).save(path)
        pairs += [(paths[0], path) for path in paths[1:]]
    return pairs


def measured(pairs, folder, text="lite", metric=None):
    digests = contents(path for pair in pairs for path in pair)
    measuring = Measuring(folder, Settings(batch_size=2, workers=1))
    return measure(pairs, text, metric or parse_metric(text).load(), digests, measuring)


@pytest.mark.parametrize("text", ["lite", "l2", "psnr"])
def test_each_pair_has_its_own_number_in_whatever_order(images, tmp_path, text):
    first = measured(images, tmp_path / "cache", text)
    metric = parse_metric(text).load()
    sign = -1 if text == "psnr" else 1
    alone = [sign * metric.compute(read_image(b)[None], read_image(a)[None]).item() for a, b in images]
    np.testing.assert_allclose(first, alone, rtol=1e-4)
    assert first[0] == first[2]  # copies
    for order in ([5, 4, 3, 2, 1, 0], [2, 0, 5]):
        again = measured([images[place] for place in order], tmp_path / "cache", text)
        assert again.tolist() == first[order].tolist()


def test_what_is_known_goes_by_content_not_by_name(images, tmp_path, monkeypatch):
    first = measured(images, tmp_path / "cache")
    renamed = []
    for ref, image in images:
        moved = tmp_path / "moved" / ref.name / image.name, tmp_path / "moved" / image.name
        for old, new in zip((ref, image), moved, strict=True):
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(old.read_bytes())
        renamed.append(moved)
    monkeypatch.setattr(distances, "read_image", None)  # nothing is read again
    assert measured(renamed, tmp_path / "cache").tolist() == first.tolist()
    with pytest.raises(TypeError):
        measured(renamed, tmp_path / "cache", "lite:weights=uniform")  # another signature


def test_an_image_that_changed_is_measured_again(images, tmp_path):
    before = measured(images, tmp_path / "cache")
    Image.open(images[0][0]).save(images[0][1])
    after = measured(images, tmp_path / "cache")
    assert after[0] == 0 < before[0]
    assert after[1:].tolist() == before[1:].tolist()


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_line_that_a_killed_run_left_unfinished_does_not_count(images, tmp_path, cut):
    whole = measured(images, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-cut])
    assert measured(images, tmp_path / "cache").tolist() == pytest.approx(whole.tolist(), rel=1e-5)
    known = Known(tmp_path / "cache", "lite", parse_metric("lite").load().signature)
    assert len(known.values) == len(set(whole))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_gives_no_number_is_an_error_that_names_the_pair(images, tmp_path, value):
    broken = LoadedMetric(lambda x, y: torch.full((len(x),), value), "broken")
    with pytest.raises(ValueError, match=rf"0-1\.png: l2 gave {value} against .*0-0\.png"):
        measured(images, tmp_path / "cache", "l2", broken)
    assert measured(images, tmp_path / "cache", "l2").min() > 0  # nothing of it was kept


def test_equal_images_have_an_infinite_psnr_which_is_a_number(images, tmp_path):
    ref = images[0][0]
    assert measured([(ref, ref)], tmp_path / "cache", "psnr").tolist() == [-math.inf]
    assert measured([(ref, ref)], tmp_path / "cache", "psnr").tolist() == [-math.inf]  # from the cache, too


def test_slope_comes_with_weights_that_have_one():
    assert parse_metric("lite").load().slope == LPIPS("lite").slope is not None
    for text in ("lite:weights=uniform", "alex:weights=uniform:tower=random:0", "l2"):
        assert parse_metric(text).load().slope is None
    x, y = torch.rand(2, 1, 3, 64, 64)
    assert parse_metric("lite").load().compute(x, y) == lpips(x, y, LPIPS("lite"))


# -- tables of distances ---------------------------------------------------------------------------------------------


def test_tables_of_distances(tmp_path):
    (tmp_path / "a.csv").write_text("ref,d0,d1,judgement,votes\nx, 1 ,2,0.25,4\n\nx,1,inf,1,2\n")
    (tmp_path / "b.csv").write_text("\ufeffd1,d0,other,judgement\n2,1,,0.5\n")
    table = read_distances(tmp_path)
    assert table["family"].tolist() == ["a", "a", "b"]
    assert table["d0"].tolist() == [1, 1, 1]
    assert table["d1"].tolist() == [2, math.inf, 2]
    assert table["judgement"].tolist() == [0.25, 1, 0.5]
    assert table["votes"].tolist()[:2] == [4, 2]
    assert math.isnan(table["votes"][2])  # not given, and not invented


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no column d0, d1, judgement.*found nothing"),
        ("d0,d1\n1,2\n", r"no column judgement; expected d0, d1 and judgement; found d0, d1"),
        ("d0;d1;judgement\n1;2;0\n", r"found d0;d1;judgement"),
        ("d0,d1,judgement\n", r"no rows"),
        ("d0,d1,d1,judgement\n1,2,2,0\n", r"column d1 appears twice"),
        ("d0,d1,judgement\n1,2,0\n\n1,nan,0\n", r":4: d1 is 'nan'"),
        ("d0,d1,judgement\n1,,0\n", r":2: d1 is ''"),
        ("d0,d1,judgement\n1,2,0\n1,2\n", r":3: 2 cells; expected 3"),
        ("d0,d1,judgement\n1,2,5\n", r":2: judgement 5; expected a fraction in \[0, 1\]"),
        ("d0,d1,judgement,votes\n1,2,1,0\n", r":2: votes 0"),
        ("d0,d1,judgement,votes\n1,2,1,many\n", r":2: votes is 'many'"),
        ("d0,d1,judgement,ref\n1,2,1,\n", r":2: ref is empty"),
        ('d0,d1,judgement\n1,2,"1\n', r"not a table"),
    ],
)
def test_a_bad_table_of_distances_names_file_and_line(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=r"x\.csv.*" + message):
        read_distances(tmp_path / "x.csv")


def test_names_of_tables():
    assert list(parse_distances(["a=x.csv", " b = y=z.csv "])) == ["a", "b"]
    for texts in (["a"], ["=x"], ["a="], [""]):
        with pytest.raises(ValueError, match="expected NAME=PATH"):
            parse_distances(texts)
    with pytest.raises(ValueError, match="a is already used for x"):
        parse_distances(["a=x", "a=y"])
